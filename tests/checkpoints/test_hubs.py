"""Hubs without a network: a cache as the hub client lays it out, and what is said when it lacks something."""

import json
import os
import socket
import sys

import pytest
import torch
from replaced_weights import assert_same as same_state
from replaced_weights import replaced_state
from safetensors.torch import load_file, save_file

import scalekeys as sk
from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError, MissingExtraError, OutputError

timm = pytest.importorskip("timm")
hub = pytest.importorskip("huggingface_hub")

NAME = "mobilenetv3_small_050.lamb_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(*_args, **_options):
        raise OSError("a test must not reach for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return folder


def add(cache, repository, files, revision="main"):
    """Lay files out as the client does: a reference to a commit, its snapshot, and links to blobs."""
    home = cache / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    for folder in (home / "refs", home / "blobs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    (home / "refs" / revision).write_text(COMMIT)
    for name, write in files.items():
        write(home / "blobs" / f"blob-of-{name}")
        (snapshot / name).symlink_to(os.path.relpath(home / "blobs" / f"blob-of-{name}", snapshot))
    return snapshot


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return timm.create_model("mobilenetv3_small_050", pretrained=False)


@pytest.fixture
def files(network):
    configuration = json.dumps({"architecture": "mobilenetv3_small_050", "num_classes": 1000, "pretrained_cfg": {}})
    return {
        "config.json": lambda path: path.write_text(configuration),
        "model.safetensors": lambda path: save_file(network.state_dict(), path),
    }


def assert_same(bank, expected):
    assert [layer.name for layer in bank.layers] == [layer.name for layer in expected.layers]
    for layer, other in zip(bank.layers, expected.layers, strict=True):
        assert torch.equal(layer.kernels, other.kernels)


def test_timm_reads_its_cache(cache, files, network):
    add(cache, f"timm/{NAME}", files)
    bank = extract(f"timm:{NAME}")
    assert_same(bank, extract(network))
    assert bank.model == f"timm:{NAME}"
    assert {layer.stride for layer in bank.layers} == {1, 2}


def test_timm_reads_any_repository_of_the_hub(cache, files, network):
    add(cache, "someone/their-net", files)
    bank = extract("timm:hf-hub:someone/their-net")
    assert_same(bank, extract(network))


def test_hf_reads_the_cache(cache, files, network):
    add(cache, "someone/their-net", files)
    bank = extract("hf:someone/their-net")
    assert_same(bank, extract(network))
    assert bank.model == "hf:someone/their-net"
    assert {layer.stride for layer in bank.layers} == {None}


def test_hf_reads_a_revision(cache, files, network):
    add(cache, "someone/their-net", files, revision="v1.0")
    assert_same(extract("hf:someone/their-net@v1.0"), extract(network))
    assert_same(extract(f"hf:someone/their-net@{COMMIT}"), extract(network))
    with pytest.raises(
        CheckpointError, match="hf:someone/their-net: can be loaded neither from the local cache nor over"
    ):
        extract("hf:someone/their-net")


def test_hf_reads_a_pickled_format_without_executing_it(cache, network, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    add(cache, "someone/old", {"pytorch_model.bin": lambda path: torch.save(network.state_dict(), path)})
    assert_same(extract("hf:someone/old"), extract(network))
    add(cache, "someone/evil", {"pytorch_model.bin": lambda path: torch.save({"x": Evil()}, path)})
    with pytest.raises(CheckpointError, match="scalekeys never executes a pickle"):
        extract("hf:someone/evil")
    assert not (tmp_path / "executed").exists()


def test_timm_never_executes_a_pickle_either(tmp_path, monkeypatch):
    """Some releases of timm load some files with ``weights_only=False``; a stand-in does so here."""

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: torch.load(tmp_path / "evil.pth", weights_only=False))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(CheckpointError, match=r"^timm:convnext_atto: .* scalekeys never executes a pickle"):
        extract("timm:convnext_atto")
    assert not (tmp_path / "executed").exists()
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_an_empty_cache_and_no_network(cache):
    way_out = r"check the name and the network, set HF_HOME to a cache that holds it \(HF_HUB_OFFLINE=1 .*\), or give"
    for source, name in ((f"timm:{NAME}", NAME), ("hf:someone/their-net", "someone/their-net")):
        with pytest.raises(
            CheckpointError, match=f"{name}: can be loaded neither from the local cache nor.*; {way_out}"
        ) as caught:
            extract(source)
        assert "\n" not in str(caught.value)


def test_a_repository_without_weights(cache):
    add(cache, "someone/empty", {"config.json": lambda path: path.write_text("{}")})
    with pytest.raises(CheckpointError, match="this folder holds no weights"):
        extract("hf:someone/empty")


@pytest.mark.parametrize("name", ["", "a/b/c", "..", "spaces in it"])
def test_what_can_be_no_repository(cache, name):
    with pytest.raises(CheckpointError, match=r"^hf:.*: can be loaded neither from the local cache nor over"):
        extract(f"hf:{name}")


def test_an_unknown_model_of_timm_brings_near_names():
    with pytest.raises(
        CheckpointError, match=r"^timm:convnext_ato: timm has no such model; did you mean .*convnext_atto"
    ):
        extract("timm:convnext_ato")
    with pytest.raises(CheckpointError, match=r"timm has no such model; timm\.list_models\(\) names them all$"):
        extract("timm:0123456789")


def test_an_unknown_tag_of_timm_brings_the_known_ones():
    match = (
        r"^timm:convnext_atto\.mine: timm has this model but no such trained weights; it has convnext_atto\.d2_in1k$"
    )
    with pytest.raises(CheckpointError, match=match):
        extract("timm:convnext_atto.mine")


def test_a_model_of_timm_that_nobody_has_trained():
    name = next(name for name in timm.list_models("mnasnet*") if not timm.is_model_pretrained(name))
    with pytest.raises(
        CheckpointError, match=f"^timm:{name}: .* no such trained weights; give a checkpoint file instead$"
    ):
        extract(f"timm:{name}")


def downloads(monkeypatch, snapshot, available):
    """Replace the download by one that puts the files of the repository that match its patterns into a folder."""
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    asked = []

    def snapshot_download(repository, *, revision, allow_patterns, ignore_patterns):
        chosen = list(
            hub.utils.filter_repo_objects(available, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns)
        )
        asked.extend(chosen)
        for name in chosen:
            available[name](snapshot / name)
        return str(snapshot)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return asked


def test_only_what_is_needed_is_fetched(network, tmp_path, monkeypatch):
    def write(path):
        save_file(network.state_dict(), path)

    available = dict.fromkeys(
        ["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "optimizer.pt", "onnx/model.onnx"],
        write,
    )
    asked = downloads(monkeypatch, tmp_path, available)
    assert_same(extract("hf:someone/net"), extract(network))
    assert sorted(asked) == ["config.json", "model.safetensors"]


def test_a_pickled_format_is_fetched_only_for_want_of_another(network, tmp_path, monkeypatch):
    available = dict.fromkeys(
        ["pytorch_model.bin", "tf_model.h5", "optimizer.pt", "onnx/model.onnx"],
        lambda path: torch.save(network.state_dict(), path),
    )
    asked = downloads(monkeypatch, tmp_path, available)
    assert_same(extract("hf:someone/net"), extract(network))
    assert asked == ["pytorch_model.bin"]


def test_folders_inside_a_repository_are_not_fetched(network, tmp_path, monkeypatch):
    names = ["unet/model.safetensors", "onnx/model.onnx", "logs/last.pth"]
    asked = downloads(monkeypatch, tmp_path, dict.fromkeys(names, lambda path: path.touch()))
    with pytest.raises(CheckpointError, match="this folder holds no weights"):
        extract("hf:someone/net")
    assert asked == []


@pytest.mark.parametrize(
    ("source", "module", "sentence"),
    [
        ("timm:convnext_atto", "timm", r"^timm is not installed; pip install 'scalekeys\[timm\]' brings it$"),
        (
            "hf:org/name",
            "huggingface_hub",
            r"^huggingface_hub is not installed; pip install 'scalekeys\[transformers\]' brings it$",
        ),
    ],
)
def test_a_missing_extra_is_one_sentence(source, module, sentence, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=sentence):
        extract(source)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(("scheme", "repository"), [("timm", f"timm/{NAME}"), ("hf", "someone/their-net")])
def test_a_model_of_a_hub_is_written_as_a_state_dict(cache, files, network, scheme, repository, suffix, tmp_path):
    add(cache, repository, files)
    source = f"timm:{NAME}" if scheme == "timm" else f"hf:{repository}"
    chosen = sk.replacement(sk.assign_keys(extract(source)))
    assert sk.write_replaced(source, chosen, tmp_path / f"new{suffix}") == ()
    state = load_file(tmp_path / "new.safetensors") if suffix == ".safetensors" else torch.load(tmp_path / "new.pth")
    expected = replaced_state(network.state_dict(), chosen)
    same_state({key: state[key] for key in expected}, expected)
    assert len(state) == len(expected)


def test_all_shards_of_a_model_of_a_hub_are_written(cache, network, tmp_path):
    state = network.state_dict()
    depthwise = {key: value for key, value in state.items() if value.ndim == 4 and value.shape[1] == 1}
    other = {key: value for key, value in state.items() if key not in depthwise}
    home = dict.fromkeys(depthwise, "model-00001-of-00002.safetensors")
    home |= dict.fromkeys(other, "model-00002-of-00002.safetensors")
    index = json.dumps({"weight_map": home})
    shards = {
        "model-00001-of-00002.safetensors": lambda path: save_file(depthwise, path),
        "model-00002-of-00002.safetensors": lambda path: save_file(other, path),
        "model.safetensors.index.json": lambda path: path.write_text(index),
    }
    add(cache, "someone/sharded", shards)
    chosen = sk.replacement(sk.assign_keys(extract("hf:someone/sharded")))
    sk.write_replaced("hf:someone/sharded", chosen, tmp_path / "new.pth")
    found, expected = torch.load(tmp_path / "new.pth"), replaced_state(state, chosen)
    same_state({key: found[key] for key in expected}, expected)
    network.load_state_dict(found)


def test_a_model_of_a_hub_is_written_to_no_other_format(cache, files, tmp_path):
    add(cache, "someone/their-net", files)
    with pytest.raises(
        OutputError, match=r"ends in '\.onnx'; the weights of hf:someone/their-net are written to \.saf"
    ):
        sk.write_replaced("hf:someone/their-net", sk.assign_keys(sk.master_keys()), tmp_path / "new.onnx")


def test_an_onnx_model_of_a_hub_is_no_state_dict(cache, tmp_path):
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(sk.master_keys()[:, None].float().numpy(), "dw.weight")
    info = [onnx.helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, None) for end in "xy"]
    node = onnx.helper.make_node("Conv", ["x", "dw.weight"], ["y"], group=8)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "graph", info[:1], info[1:], [weight]))
    add(cache, "someone/onnx", {"model.onnx": lambda path: path.write_bytes(model.SerializeToString())})
    chosen = sk.assign_keys(extract("hf:someone/onnx"))
    with pytest.raises(CheckpointError, match=r"holds model\.onnx, which is no state dict"):
        sk.write_replaced("hf:someone/onnx", chosen, tmp_path / "new.pth")


@pytest.mark.parametrize("source", [f"timm:{NAME}", "hf:someone/their-net"])
def test_a_hub_that_does_not_answer_is_asked_once(source, cache, monkeypatch):
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    asked = []

    class Session:
        def head(self, address, timeout):
            asked.append(timeout)
            raise OSError("no network")

    monkeypatch.setattr(hub.utils, "get_session", Session)
    with pytest.raises(CheckpointError, match="can be loaded neither from the local cache nor over the network"):
        extract(source)
    assert len(asked) == 1
    assert asked[0] <= 10
    assert hub.constants.HF_HUB_OFFLINE is False
