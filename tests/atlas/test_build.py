"""An atlas is a function of its sources: neither interruptions nor workers nor the order of things show in it."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from atlas_cases import Evil, assert_same, checkpoints, flat_network, network, tables, undisturbed
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.atlas import Reference, building, task
from scalekeys.atlas.engines import InProcess, Lost
from scalekeys.atlas.journal import Entry, Journal
from scalekeys.atlas.layout import Layout
from scalekeys.atlas.schema import FILTERS, SCHEMA_VERSION
from scalekeys.errors import AtlasError, CheckpointError, MissingExtraError, OutputError

BUILD = sk.atlas.build


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A working folder with five networks, and their names."""
    monkeypatch.chdir(tmp_path)
    return [path.name for path in checkpoints(tmp_path, 5)]


@pytest.fixture
def analysed(monkeypatch):
    """The sources that are really fitted."""
    found = []

    def record(checkpoint, **options):
        found.append(options["source"])
        yield from rows(checkpoint, **options)

    rows = task.rows
    monkeypatch.setattr(task, "rows", record)
    return found


def failures(folder):
    return pq.read_table(Layout(Path(folder)).failures).to_pylist()


def networks(folder):
    return {row["source"]: row for row in pq.read_table(Layout(Path(folder)).networks).to_pylist()}


def test_it_holds_one_row_a_filter_and_one_a_source(nets):
    summary = BUILD(nets, "atlas")
    assert summary.to_dict() == {
        "networks": 5,
        "filters": 90,
        "duplicates": 0,
        "failures": [],
        "left_out": [],
        "analysed": 5,
        "kept": 0,
    }
    assert list(networks("atlas")) == nets
    assert networks("atlas")["net0.safetensors"] | {"content_hash": ""} == {
        "source": "net0.safetensors",
        "model": "net0",
        "content_hash": "",
        "duplicate_of": None,
        "layers": 3,
        "filters": 18,
        "notes": [],
    }
    assert failures("atlas") == []
    assert sorted(path.name for path in Path("atlas").iterdir()) == [
        ".lock",
        "atlas.json",
        "failures.parquet",
        "filters",
        "journal.jsonl",
        "left_out.parquet",
        "networks.parquet",
    ]


def test_processes_give_the_same_tables(nets):
    save_file(network(0), nets[0])
    Path("bad.pth").write_text("not weights")
    sources = [*nets, "bad.pth", "missing.pth"]
    BUILD(sources, "many", workers=2)
    assert_same(Path("many"), undisturbed(sources, Path("one")))


@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_gives_the_same_tables(nets):
    ray = pytest.importorskip("ray")
    save_file(network(0), nets[0])
    Path("bad.pth").write_text("not weights")
    sources = [*nets[:2], "bad.pth", "missing.pth"]
    BUILD(sources, "many", ray="local", workers=1)
    assert not ray.is_initialized()
    assert_same(Path("many"), undisturbed(sources, Path("one")))


def test_without_ray_nothing_is_begun(nets, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"ray is not installed; pip install 'scalekeys\[ray\]' brings it"):
        BUILD(nets, "atlas", ray="local")
    assert not Path("atlas").exists()


def test_a_second_run_does_nothing_and_a_third_what_is_new(nets, analysed):
    progress = []
    BUILD(nets[:3], "atlas")
    assert BUILD(nets[:3], "atlas", progress=progress.append).kept == sum(progress) == 3
    assert analysed == nets[:3]
    summary = BUILD(nets[2:], "atlas")
    assert (summary.networks, summary.kept, summary.analysed) == (5, 1, 2)
    assert analysed == nets
    assert_same(Path("atlas"), undisturbed(reversed(nets), Path("one")))


def test_a_run_that_was_cut_short_goes_on_where_it_was(nets, analysed, monkeypatch):
    class Interrupted(InProcess):
        def run(self, function, tasks):
            for number, result in enumerate(super().run(function, tasks)):
                if number == 2:
                    raise KeyboardInterrupt
                yield result

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(building, "InProcess", Interrupted)
        BUILD(nets, "atlas")
    with pytest.raises(AtlasError, match=r"atlas: is not finished; run `scalekeys atlas build` again"):
        sk.atlas.open("atlas")
    assert BUILD(nets, "atlas").kept == 2
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


def test_what_the_journal_lost_is_found_by_its_content(nets, analysed):
    BUILD(nets, "atlas")
    journal = Layout(Path("atlas")).journal
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(["torn {\n", *lines[:2], lines[2][:40]]))
    analysed.clear()
    summary = BUILD(nets, "atlas")
    assert (summary.analysed, summary.kept, analysed) == (3, 2, [])
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


def test_what_is_missing_or_damaged_is_made_anew(nets, analysed):
    BUILD(nets, "atlas")
    files = sorted(Layout(Path("atlas")).filters.iterdir())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-30])
    files[2].write_bytes(b"")
    (files[3].parent / f".{files[3].name}.abc.scalekeys.tmp").write_text("left by a dead worker")
    analysed.clear()
    BUILD(nets, "atlas")
    assert len(analysed) == 3
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


def test_what_the_dead_left_is_removed_before_the_work_begins(nets, monkeypatch):
    BUILD(nets[:1], "atlas")
    (Layout(Path("atlas")).filters / ".0123.parquet.abc.scalekeys.tmp").write_text("half")
    left = []
    monkeypatch.setattr(building, "analyse", lambda _: left.extend(Path("atlas").rglob("*.tmp")) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        BUILD(nets, "atlas")
    assert left == []


def test_a_run_that_is_given_up_has_stopped_its_workers_and_leaves_no_part_of_a_file(nets, monkeypatch):
    half = Layout(Path("atlas")).filters / ".0123.parquet.abc.scalekeys.tmp"

    def results(tasks):
        half.write_text("half")
        try:
            yield from ((one, task.Failed("Error", "x")) for one in tasks)
        finally:
            stopped.append(half.exists())

    class Engine:
        def run(self, function, tasks):
            running.append(results(tasks))
            return running[0]

    stopped, running = [], []  # `running` keeps the generator alive, so that the build has to close it
    monkeypatch.setattr(building, "_engine", lambda *_: Engine())
    monkeypatch.setattr(Journal, "append", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        BUILD(nets, "atlas")
    assert stopped == [True]
    assert not half.exists()


def test_an_entry_after_a_torn_line_is_whole(tmp_path):
    path = tmp_path / "journal.jsonl"
    entry = Entry(Reference("a"), "sign", task.Failed("Error", "a: is bad"))
    path.write_text(entry.line() + entry.line()[:20])
    Journal(path).append(replace(entry, reference=Reference("b")))
    assert list(Journal(path).entries) == ["a", "b"]


def test_a_checkpoint_that_changes_is_analysed_again_and_its_old_rows_are_put_aside(nets, analysed):
    BUILD(nets, "atlas")
    save_file(flat_network(77), nets[1])
    analysed.clear()
    assert BUILD(nets, "atlas").kept == 4
    assert analysed == [nets[1]]
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))
    analysed.clear()
    save_file(flat_network(1), nets[1])
    BUILD(nets, "atlas")
    assert analysed == []  # the rows of old were still there


def test_a_touched_file_of_the_same_content_is_not_fitted_again(nets, analysed):
    BUILD(nets, "atlas")
    analysed.clear()
    os.utime(nets[0], (1, 1))
    assert BUILD(nets, "atlas").analysed == 1
    assert BUILD(nets, "atlas", recheck=True).analysed == 5
    assert analysed == []


def test_a_checkpoint_that_breaks_leaves_the_table(nets):
    BUILD(nets, "atlas")
    Path(nets[0]).write_bytes(b"broken")
    Path(nets[1]).unlink()
    assert BUILD(nets, "atlas").networks == 3
    assert [row["source"] for row in failures("atlas")] == nets[:2]
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


def test_a_network_under_two_names_is_there_once_under_the_first(nets, analysed):
    Path("a-copy.safetensors").write_bytes(Path(nets[3]).read_bytes())
    Path("z-copy.safetensors").write_bytes(Path(nets[3]).read_bytes())
    summary = BUILD([*nets, "z-copy.safetensors", "a-copy.safetensors"], "atlas")
    assert (summary.networks, summary.duplicates, summary.filters) == (5, 2, 90)
    assert analysed == nets
    rows = networks("atlas")
    assert [rows[name]["duplicate_of"] for name in ("a-copy.safetensors", nets[3], "z-copy.safetensors")] == [
        None,
        "a-copy.safetensors",
        "a-copy.safetensors",
    ]
    table = pq.read_table(Layout(Path("atlas")).rows_of(rows[nets[3]]["content_hash"]))
    assert set(table["source"].to_pylist()) == {"a-copy.safetensors"}
    assert set(table["model"].to_pylist()) == {"a-copy"}
    assert_same(Path("atlas"), undisturbed(["a-copy.safetensors", "z-copy.safetensors", *nets], Path("one")))


def test_when_the_first_name_of_a_network_goes_its_rows_go_to_the_next(nets):
    Path("a-copy.safetensors").write_bytes(Path(nets[3]).read_bytes())
    sources = ["a-copy.safetensors", *nets]
    BUILD(sources, "atlas")
    save_file(flat_network(55), "a-copy.safetensors")
    BUILD(sources, "atlas")
    assert networks("atlas")[nets[3]]["duplicate_of"] is None
    assert_same(Path("atlas"), undisturbed(sources, Path("one")))


def test_unreadable_and_hostile_checkpoints_are_rows_of_failures(nets, tmp_path):
    torch.save({"dw.weight": torch.ones(4, 1, 3, 3), "extra": Evil(tmp_path / "executed")}, "evil.pth")
    torch.save({"dw.weight": torch.zeros(1).expand(10**8, 1, 7, 7)}, "bomb.pth")
    save_file({"\x1b[2Jdw.weight": torch.ones(4, 1, 3, 3, dtype=torch.int8)}, "escape.safetensors")
    save_file({"fc.weight": torch.ones(4, 4)}, "dense.safetensors")
    Path("cut.safetensors").write_bytes(Path(nets[0]).read_bytes()[:-9])
    Path("empty.pth").touch()
    os.mkfifo("pipe.pth")
    bad = ["evil.pth", "bomb.pth", "escape.safetensors", "dense.safetensors", "cut.safetensors", "empty.pth"]
    summary = BUILD([*bad, "pipe.pth", *nets, "hf:", "builtin:nothing"], "atlas")
    assert summary.networks == 5
    reasons = dict(summary.failures)
    assert set(reasons) == {*bad, "pipe.pth", "hf:", "builtin:nothing"}
    assert not (tmp_path / "executed").exists()
    assert "scalekeys never executes a pickle" in reasons["evil.pth"]
    assert "claims 4900000000 values" in reasons["bomb.pth"]
    assert "has no depthwise layers" in reasons["dense.safetensors"]
    for source, reason in reasons.items():
        assert reason.startswith(f"{source}:")
        assert reason.isprintable()
    assert {row["source"]: row["reason"] for row in failures("atlas")} == reasons


def test_an_error_that_nobody_has_foreseen_is_a_row_too(nets, monkeypatch):
    def fail(location):
        raise RuntimeError(f"{location}\nis strange")

    monkeypatch.setattr(task, "open_source", fail)
    BUILD(nets[:1], "atlas")
    assert failures("atlas") == [
        {"source": nets[0], "error": "RuntimeError", "reason": f"{nets[0]}: cannot be analysed: {nets[0]}"}
    ]


def test_a_task_of_which_the_workers_die_is_a_row_too(nets, monkeypatch):
    class Deadly(InProcess):
        def run(self, function, tasks):
            for given, result in super().run(function, tasks):
                yield given, Lost() if given.reference.source == nets[2] else result

    with monkeypatch.context() as patched:
        patched.setattr(building, "InProcess", Deadly)
        BUILD(nets, "atlas")
    assert [(row["source"], row["error"]) for row in failures("atlas")] == [(nets[2], "WorkerDied")]
    assert "out of memory, or killed" in failures("atlas")[0]["reason"]
    assert BUILD(nets, "atlas").analysed == 1
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


@pytest.mark.parametrize("where", ["rows", "networks", "journal"])
def test_a_full_disk_stops_the_run_and_the_next_one_completes_it(nets, monkeypatch, where):
    BUILD(nets[:2], "atlas")
    before = {path: path.read_bytes() for path in Path("atlas").rglob("*") if path.suffix in (".parquet", ".jsonl")}
    full, open_ = OSError(28, "No space left on device"), Path.open

    def fail(*arguments, **options):
        raise full

    class Full(pq.ParquetWriter):
        def write_table(self, table, *arguments, **options):
            if table["source"][0].as_py() == nets[3]:
                raise full
            super().write_table(table, *arguments, **options)

    with monkeypatch.context() as patched:
        if where == "rows":
            patched.setattr(task.pq, "ParquetWriter", Full)
        elif where == "networks":
            patched.setattr("scalekeys.atlas.settling.pq.write_table", fail)
        else:
            patched.setattr(
                Path, "open", lambda path, mode="r", **options: fail() if "a" in mode else open_(path, mode, **options)
            )
        with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
            BUILD(nets, "atlas")
    for path, content in before.items():
        assert path.read_bytes().startswith(content)  # the journal may have grown
    assert not list(Path("atlas").rglob("*.tmp"))
    assert BUILD(nets, "atlas").networks == 5
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


SINCE_4 = ["pitch", *FILTERS.names[FILTERS.names.index("gain_matched") + 1 : FILTERS.names.index("source")]]
SINCE_3 = ("kernel_depth", "kind", "sigma_z", "sigma_z_error", "sigma_z_status", "angle", "r2_matched")
SINCE_3 += ("r2_aligned", "r2_oriented", "angle_oriented", "gain_white", "gain_matched")


def older(folder, count, version=2):
    """Turn some files into those of version 3, without shapes, or 2, which knew two axes and white noise alone."""
    for path in sorted(Layout(Path(folder)).filters.iterdir())[:count]:
        table = pq.read_table(path).drop_columns(SINCE_4)
        metadata = table.schema.metadata | {b"scalekeys.schema": str(version).encode()}
        if version == 2:
            table = table.drop_columns(list(SINCE_3)).rename_columns({"r2_white": "r2_control"})
        pq.write_table(table.replace_schema_metadata(metadata), path)


def test_files_of_an_older_form_are_made_anew_where_their_source_is_named(nets, analysed):
    BUILD(nets, "atlas")
    older("atlas", 3)
    analysed.clear()
    assert BUILD(nets, "atlas").analysed == len(analysed) == 3
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


def test_files_of_an_older_form_can_be_asked_beside_others(nets):
    save_file(network(0), nets[0])
    BUILD(nets, "atlas")
    older("atlas", 5)
    assert BUILD(["builtin:master-keys"], "atlas").networks == 6
    atlas = sk.atlas.open("atlas")
    counted = ", ".join(f"count({name}) as {name}" for name in ("r2", "r2_white", "r2_matched", "kind"))
    counts = atlas.sql(f"select count(*) as n, {counted} from filters")
    assert counts.to_arrow().to_pylist() == [{"n": 98, "r2": 26, "r2_white": 26, "r2_matched": 8, "kind": 8}]
    assert atlas.sql("select * from filters").columns == tuple(FILTERS.names)
    small = {row["kernel"]: row for row in atlas.named("r2-by-kernel-size").to_arrow().to_pylist()}["3x3"]
    assert small["r2_matched"] is None
    assert small["r2_white"] < small["r2"]
    turned = atlas.named("orientation").to_arrow().to_pylist()
    assert [(row["source"], row["filters"]) for row in turned] == [("builtin:master-keys", 8)]


def test_shapes_are_empty_in_files_of_form_3(nets):
    save_file(network(0), nets[0])
    BUILD(nets[:1], "atlas")
    older("atlas", 1, version=3)
    atlas = sk.atlas.open("atlas")
    (counts,) = atlas.sql("select count(columns(*)) from filters").to_arrow().to_pylist()
    assert {name for name in SINCE_4 if counts[name]} == set()
    assert counts["gain_matched"] == 18
    for name in ("separability", "offsets", "published-keys"):
        assert len(atlas.named(name).to_arrow()) == 0


def test_a_page_of_an_atlas_of_an_older_form_says_what_it_knows(nets):
    save_file(network(0), nets[0])
    BUILD(nets[:1], "atlas")
    older("atlas", 1)
    Path("atlas/atlas.json").write_text('{"schema": 2, "seed": 0}')
    summary = sk.write_atlas_report(sk.atlas.open("atlas"), "report")
    assert summary.total["r2_white"] < summary.total["r2"]
    assert (summary.total["r2_matched"], summary.total["beyond_matched"]) == (None, None)
    assert summary.rows("orientation") == []
    assert "No filter has an angle that was measured" in Path("report/report.html").read_text()


def test_an_atlas_of_a_newer_form_is_left_alone(nets):
    BUILD(nets[:1], "atlas")
    settings = Path("atlas/atlas.json")
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"schema": SCHEMA_VERSION + 1}))
    before = tables(Path("atlas"))
    for act in (lambda: BUILD(nets, "atlas"), lambda: sk.atlas.open("atlas")):
        said = (
            f"atlas: is of form {SCHEMA_VERSION + 1}, and this scalekeys knows forms up to {SCHEMA_VERSION}; update it"
        )
        with pytest.raises(AtlasError, match=said):
            act()
    assert sorted(tables(Path("atlas"))) == sorted(before)


def test_another_seed_is_another_atlas(nets):
    save_file(network(0), nets[0])
    BUILD(nets[:1], "atlas", seed=1)
    with pytest.raises(AtlasError, match="atlas: was built with seed 1; give that, or another folder"):
        BUILD(nets[:1], "atlas")
    BUILD(nets[:1], "other")
    asked = "select r2, r2_white, r2_matched from filters"
    mine, other = (sk.atlas.open(name).sql(asked).to_arrow() for name in ("atlas", "other"))
    assert mine["r2"].equals(other["r2"])
    assert not mine["r2_white"].equals(other["r2_white"])
    assert not mine["r2_matched"].equals(other["r2_matched"])


def test_other_kinds_of_convolutions_are_another_atlas(nets, monkeypatch):
    asked = []
    real = task.open_source
    monkeypatch.setattr(task, "open_source", lambda source, **options: asked.append(options) or real(source))
    BUILD(nets[:1], "atlas", kinds="all")
    assert asked == [{"kinds": "all"}]
    assert json.loads(Path("atlas/atlas.json").read_text())["kinds"] == "all"
    with pytest.raises(AtlasError, match="atlas: was built of kinds 'all'; give these, or another folder"):
        BUILD(nets[:1], "atlas")
    asked.clear()
    BUILD(nets[:1], "other")
    assert asked == [{}]


def test_two_builders_do_not_meet(nets):
    with (
        Layout(Path("atlas")).building(0),
        pytest.raises(AtlasError, match="atlas: is being built by another process; wait until it is done"),
    ):
        BUILD(nets, "atlas")


def test_a_folder_of_something_else_is_left_alone(nets):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="mine: holds something else than an atlas; name another folder"):
        BUILD(nets, "mine")
    with pytest.raises(OutputError, match=r"thesis\.tex: is a file; name a folder to write into"):
        BUILD(nets, "mine/thesis.tex")
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("left", [".lock", ".atlas.json.abc.scalekeys.tmp"])
def test_a_run_that_was_killed_at_its_very_start_is_gone_on_with(nets, left):
    (Path("atlas") / "filters").mkdir(parents=True)
    (Path("atlas") / left).touch()
    assert BUILD(nets[:1], "atlas").networks == 1


def test_a_bad_list_is_refused_before_anything_is_written(nets):
    with pytest.raises(CheckpointError, match="no file or folder fits"):
        BUILD([*nets, "none*.pth"], "atlas")
    assert not Path("atlas").exists()


def test_metadata_become_typed_columns_and_stay_when_they_are_not_given_again(nets):
    Path("list.csv").write_text(
        "source,accuracy,parameters,pruned,data,mixed\n"
        f"{nets[0]},0.5,12,true,ImageNet,1\n{nets[1]},1e-1,,false,,x\nmissing.pth,0.3,4,true,a,2\n"
    )
    BUILD(["list.csv", nets[2]], "atlas")
    BUILD(nets[:2], "atlas")
    table = pq.read_table("atlas/networks.parquet")
    columns = {name: table[name].to_pylist() for name in table.column_names[-5:]}
    assert columns == {
        "accuracy": [0.5, 0.1, None],
        "data": ["ImageNet", None, None],
        "mixed": ["1", "x", None],
        "parameters": [12, None, None],
        "pruned": [True, False, None],
    }
    assert failures("atlas")[0]["parameters"] == 4
    Path("more.csv").write_text(f"source,accuracy\n{nets[2]},0.9\n")
    assert BUILD(["more.csv"], "atlas").kept == 1
    assert networks("atlas")[nets[2]]["accuracy"] == 0.9


def test_metadata_that_a_list_no_longer_tells_are_taken_back(nets):
    Path("list.csv").write_text(f"source,accuracy,year\n{nets[0]},0.5,2020\n{nets[1]},0.6,2021\n")
    BUILD(["list.csv"], "atlas")
    Path("list.csv").write_text(f"source,accuracy,year\n{nets[0]},,2020\n{nets[1]},n/a,2021\n")
    assert BUILD(["list.csv"], "atlas").kept == 2
    table = pq.read_table("atlas/networks.parquet")
    assert "accuracy" not in table.column_names
    assert table["year"].to_pylist() == [2020, 2021]


def test_columns_that_differ_in_capitals_from_those_of_an_earlier_run_are_refused(nets):
    BUILD([Reference(nets[0], {"Top1": "0.5"})], "atlas")
    with pytest.raises(AtlasError, match="the columns 'Top1' and 'top1' differ in capitals only"):
        BUILD([Reference(nets[1], {"top1": "0.6"})], "atlas")
    assert list(networks("atlas")) == [nets[0]]


def test_references_can_be_given_as_such(nets):
    BUILD([Reference(nets[0], {"year": "2020"})], "atlas")
    assert networks("atlas")[nets[0]]["year"] == 2020


def test_sources_that_change_beside_their_index_are_noticed(tmp_path, analysed):
    folder = tmp_path / "sharded"
    folder.mkdir()
    weights = flat_network(0)
    index = {"weight_map": dict.fromkeys(weights, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file(weights, folder / "model-00001-of-00001.safetensors")
    for source in (folder, folder / "model.safetensors.index.json"):
        atlas = tmp_path / f"atlas-of-{source.name}"
        BUILD([source], atlas)
        assert BUILD([source], atlas).kept == 1
        save_file(flat_network(len(source.name)), folder / "model-00001-of-00001.safetensors")
        assert BUILD([source], atlas).analysed == 1


def test_rows_that_vanish_from_an_atlas_whose_sources_are_not_named_are_told(nets):
    BUILD(nets, "atlas")
    Layout(Path("atlas")).rows_of(networks("atlas")[nets[0]]["content_hash"]).unlink()
    with pytest.raises(AtlasError, match=r"\.parquet: is missing; build again with its source"):
        sk.atlas.open("atlas")
    BUILD(nets[1:], "atlas")
    (row,) = failures("atlas")
    assert row["reason"].startswith(f"{nets[0]}: its rows are no longer in the atlas; name it again")
    assert sk.atlas.open("atlas").sql("select * from filters").to_arrow().schema.names == FILTERS.names


def test_workers_on_machines_that_do_not_share_the_folder_stop_the_run(nets, tmp_path):
    given = task.Task(Reference(nets[0]), "", str(tmp_path / "elsewhere"), 0)
    outcome = task.analyse(given)
    assert isinstance(outcome, task.Unwritable)
    assert "is not seen by a worker; give a folder that all machines share" in outcome.reason
    assert not (tmp_path / "elsewhere").exists()


def test_the_number_of_threads_is_as_before(nets):
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        BUILD(nets[:1], "atlas")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
