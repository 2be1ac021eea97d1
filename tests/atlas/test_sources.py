"""What a user names is written out: patterns, lists, metadata, models on hubs."""

import sys

import pytest

import torchvision_placeholder
from scalekeys.atlas import Reference, expand
from scalekeys.errors import AtlasError, CheckpointError, MissingExtraError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with some files."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.pth", "b.pth", "deep/er/c.pth", ".hidden.pth", "odd[1].pth"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(*sources):
    return [reference.source for reference in expand(sources)]


def test_paths_stay_as_they_are_typed_whether_they_exist_or_not(here):
    assert names("b.pth", "./a.pth", "missing.pth") == ["b.pth", "a.pth", "missing.pth"]


def test_patterns_stand_for_files_in_order_and_leave_out_hidden_ones(here):
    assert names("?.pth") == ["a.pth", "b.pth"]
    assert names("**/*.pth") == ["a.pth", "b.pth", "deep/er/c.pth", "odd[1].pth"]
    assert names(str(here / "a*")) == [str(here / "a.pth")]


def test_a_file_with_brackets_in_its_name_is_no_pattern(here):
    assert names("odd[1].pth") == ["odd[1].pth"]


def test_each_source_is_there_once(here):
    assert names("a.pth", "*.pth", "./a.pth").count("a.pth") == 1


def test_a_text_file_lists_sources_beside_it(here):
    (here / "deep" / "list.txt").write_text("# mine\n\n../a.pth\n  er/*.pth  \nbuiltin:master-keys\n")
    assert names("deep/list.txt") == ["deep/../a.pth", "deep/er/c.pth", "builtin:master-keys"]


def test_a_table_brings_metadata(here):
    (here / "list.csv").write_text(
        "\ufeffaccuracy, source ,data set\n0.7,a.pth,ImageNet\n,b.pth,\n\n0.5,deep/**/*.pth,x"
    )
    assert expand(["list.csv"]) == (
        Reference("a.pth", {"accuracy": "0.7", "data set": "ImageNet"}),
        Reference("b.pth", {"accuracy": "", "data set": ""}),
        Reference("deep/er/c.pth", {"accuracy": "0.5", "data set": "x"}),
    )


def test_a_list_may_stand_in_the_home_folder(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here / "deep"))
    (here / "deep" / "list.txt").write_text("er/c.pth\n")
    assert names("~/list.txt") == [str(here / "deep" / "er" / "c.pth")]


def test_only_ends_of_lines_part_the_rows_of_a_table(here):
    (here / "list.csv").write_text('source,x\na.pth,one\x0btwo\u2028three\nb.pth,"one\n\ntwo"\n')
    assert [one.metadata["x"] for one in expand(["list.csv"])] == ["one\x0btwo\u2028three", "one\n\ntwo"]


def test_metadata_of_several_lists_are_joined(here):
    (here / "one.csv").write_text("source,accuracy\na.pth,0.7\n")
    (here / "two.csv").write_text("source,year\na.pth,2020\n")
    assert expand(["one.csv", "a.pth", "two.csv"]) == (Reference("a.pth", {"accuracy": "0.7", "year": "2020"}),)


def test_a_cell_can_say_that_a_value_is_not_known(here):
    (here / "one.csv").write_text("source,accuracy,year\na.pth,N/A,-\nb.pth,nan,none\n")
    (here / "two.csv").write_text("source,accuracy\na.pth,0.7\n")
    assert expand(["one.csv", "two.csv"]) == (
        Reference("a.pth", {"accuracy": "0.7", "year": ""}),
        Reference("b.pth", {"accuracy": "", "year": "none"}),
    )


def test_the_folder_of_a_list_is_no_pattern(here):
    folder = here / "odd[1]*"
    folder.mkdir()
    for name in ("a.pth", "b.pth"):
        (folder / name).touch()
    (folder / "list.txt").write_text("*.pth\nmissing.pth\n")
    assert names("odd[1]*/list.txt") == [f"odd[1]*/{name}.pth" for name in ("a", "b", "missing")]


def test_a_location_is_absolute_but_for_models_on_hubs(here):
    assert Reference("a.pth").location == str(here / "a.pth")
    assert Reference("builtin:master-keys").location == "builtin:master-keys"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,accuracy\na.pth,0.7\n", r"list\.csv: has no column 'source'; its first line names name, accuracy"),
        ("", r"list\.csv: has no column 'source'; its first line names none"),
        ("source,x\na.pth\n", r"list\.csv, line 2: has 1 cells where the header has 2"),
        ("source,x\na.pth,1\n,2\n", r"list\.csv, line 3: names no source"),
        ('source,x\na.pth,"one\nb.pth,2\n', r"list\.csv, line 2: is no row of CSV \(unexpected end of data\); mend"),
        ('source,x\na.pth,1\nb.pth,"one\nc.pth,"two"\n', r"list\.csv, line 3: is no row of CSV"),
        ('source,x\na.pth,1\n"b.pth" ,2\n', r"list\.csv, line 3: is no row of CSV \(',' expected after '\"'\)"),
        ("source,x,x\na.pth,1,2\n", r"list\.csv: its columns need names that differ"),
        ("source,x,X\na.pth,1,2\n", r"list\.csv: its columns need names that differ"),
        ("source,Filters\na.pth,1\n", r"a\.pth: the column 'Filters' is one of the atlas itself; call it something"),
        ("source,x\na.pth,1\na.pth,2\n", r"a\.pth: is listed with x '1' and with '2'; keep one of them"),
        ("source\nnothing*.pth\n", r"nothing\*\.pth: no file or folder fits this pattern"),
    ],
)
def test_a_table_that_is_none_is_refused(here, text, message):
    (here / "list.csv").write_text(text)
    with pytest.raises((AtlasError, CheckpointError), match=message):
        expand(["list.csv"])


def test_columns_of_two_lists_that_differ_in_capitals_are_refused(here):
    (here / "one.csv").write_text("source,Top1\na.pth,0.7\n")
    (here / "two.csv").write_text("source,top1\nb.pth,0.7\n")
    with pytest.raises(AtlasError, match=r"b\.pth: the columns 'Top1' and 'top1' differ in capitals only"):
        expand(["one.csv", "two.csv"])


def test_a_list_that_is_no_text_is_refused(here):
    (here / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match=r"list\.txt: is not a text file .*; save it as UTF-8"):
        expand(["list.txt"])


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "there are no sources; name checkpoints, patterns or lists"),
        ([" "], "a source has an empty name"),
        (["no*such"], r"no\*such: no file or folder fits this pattern"),
        (["builtin:*"], r"builtin:\*: wildcards work after timm: and hf:; name the model in full"),
        (["hf:*/net"], r"hf:\*/net: name the owner in full, as in hf:timm/convnext\*"),
    ],
)
def test_what_names_nothing_is_refused(here, sources, message):
    with pytest.raises((AtlasError, CheckpointError), match=message):
        expand(sources)


def test_a_pattern_of_timm_stands_for_its_trained_models():
    torchvision_placeholder.install()
    pytest.importorskip("timm")
    assert names("timm:convnext_atto*") == ["timm:convnext_atto.d2_in1k", "timm:convnext_atto_ols.a2_in1k"]
    with pytest.raises(CheckpointError, match=r"timm:nothing\*: no model fits this pattern"):
        expand(["timm:nothing*"])


def test_a_pattern_of_hf_asks_the_hub_for_the_models_of_the_owner(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def list_models(author):
        asked.append(author)
        return [hub.ModelInfo(id=name) for name in ("timm/convnext_b", "timm/resnet", "timm/convnext_a")]

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "list_models", list_models)
    assert names("hf:timm/convnext*") == ["hf:timm/convnext_a", "hf:timm/convnext_b"]
    assert asked == ["timm"]


def test_a_pattern_of_hf_without_a_network(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def list_models(author):
        raise ConnectionError("no route\nto the host")

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "list_models", list_models)
    with pytest.raises(CheckpointError, match=r"hf:org/\*: the hub cannot be asked .*no route\); .* HF_HUB_OFFLINE=1"):
        expand(["hf:org/*"])
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    snapshot = tmp_path / "models--org--net" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr(hub, "scan_cache_dir", lambda scan=hub.scan_cache_dir: scan(tmp_path))
    assert names("hf:org/*") == ["hf:org/net"]


def test_a_pattern_of_a_hub_without_its_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'scalekeys\[timm\]'"):
        expand(["timm:convnext*"])
