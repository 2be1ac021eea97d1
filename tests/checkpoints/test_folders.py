"""Folders as the Hugging Face hub keeps them, and others."""

import json

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scalekeys.checkpoints import extract, open_source
from scalekeys.checkpoints.sources.folder import load_state
from scalekeys.errors import CheckpointError


@pytest.fixture(scope="module", params=["ConvNextModel", "ConvNextV2Model"])
def convnext(request):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 11, 1], "num_stages": 4}
    configuration = getattr(transformers, request.param.replace("Model", "Config"))(**sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(transformers, request.param)(configuration)


@pytest.mark.parametrize("shards", ["60KB", "1GB"])
def test_a_folder_that_transformers_has_written(convnext, shards, tmp_path):
    folder = tmp_path / "my-convnext"
    convnext.save_pretrained(folder, max_shard_size=shards)
    assert (
        len(list(folder.glob("*.safetensors"))) == 1 if shards == "1GB" else len(list(folder.glob("*.safetensors"))) > 3
    )
    bank, expected = extract(folder), extract(convnext)
    assert bank.model == "my-convnext"
    assert [layer.name for layer in bank.layers] == [layer.name for layer in expected.layers]
    assert len(bank.layers) == 15
    for layer, other in zip(bank.layers, expected.layers, strict=True):
        assert torch.equal(layer.kernels, other.kernels)


def write_shards(state, folder, *, suffix=".safetensors", groups=None):
    """Write one shard for each group of keys, and their index."""
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    groups = groups or [[key] for key in state]
    home = {}
    for number, keys in enumerate(groups, 1):
        shard = f"{stem}-{number:05}-of-{len(groups):05}{suffix}"
        part = {key: state[key] for key in keys}
        (save_file if suffix == ".safetensors" else torch.save)(part, folder / shard)
        home |= dict.fromkeys(keys, shard)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": home}))
    return index


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("by", ["folder", "index"])
def test_shards_of_either_format(suffix, by, net, tmp_path, assert_filters_of):
    index = write_shards(net.state_dict(), tmp_path, suffix=suffix)
    bank = extract(tmp_path if by == "folder" else index)
    assert_filters_of(bank, net, graph=False)
    assert bank.model == tmp_path.name


def test_shards_without_a_weight_are_not_opened(net, tmp_path, assert_filters_of):
    state = net.state_dict()
    weights = [key for key in state if key.endswith("weight")]
    index = write_shards(state, tmp_path, groups=[weights, [key for key in state if key not in weights]])
    (tmp_path / "model-00002-of-00002.safetensors").write_text("damaged")
    assert_filters_of(extract(index), net, graph=False)


def test_each_layer_leads_back_to_its_shard(net, tmp_path):
    opened = open_source(write_shards(net.state_dict(), tmp_path))
    for layer in opened.layers:
        assert torch.equal(opened.load(layer.key), net.get_parameter(layer.key))


def refused(source, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        extract(source)
    assert "\n" not in str(caught.value)


def test_a_missing_shard_is_named(net, tmp_path):
    write_shards(net.state_dict(), tmp_path)
    (tmp_path / "model-00003-of-00018.safetensors").unlink()
    refused(
        tmp_path, r"index\.json: the shard model-00003-of-00018\.safetensors is missing; fetch it into the same folder"
    )


def test_a_damaged_shard_is_named(net, tmp_path):
    write_shards(net.state_dict(), tmp_path)
    shard = tmp_path / "model-00003-of-00018.safetensors"
    shard.write_bytes(shard.read_bytes()[:-9])
    refused(tmp_path, r"model-00003-of-00018\.safetensors: is damaged or cut short")


def test_a_shard_without_what_the_index_promises(net, tmp_path):
    index = write_shards(net.state_dict(), tmp_path)
    content = json.loads(index.read_text())
    content["weight_map"]["more.weight"] = "model-00001-of-00018.safetensors"
    index.write_text(json.dumps(content))
    refused(tmp_path, r"lists 'more\.weight' in model-00001-of-00018\.safetensors, which does not hold it")


@pytest.mark.parametrize("shard", ["../secret", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "C:x", "a\0b"])
def test_a_shard_elsewhere_is_refused(shard, tmp_path):
    save_file({"dw.weight": torch.ones(4, 1, 3, 3)}, tmp_path / "secret")
    (tmp_path / "model").mkdir()
    index = tmp_path / "model" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"dw.weight": shard}}))
    refused(tmp_path / "model", r"index\.json: names the shard .*, which is no file beside it, and is not read")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"weight_map": 3}', "null", "[" * 100_000, "\x00\xff"])
def test_a_broken_index_is_named(content, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(content, encoding="latin-1")
    refused(tmp_path, r"model\.safetensors\.index\.json: (is no index of shards|its 'weight_map' does not give)")


@pytest.mark.parametrize("shards", [3, None, ["a"]])
def test_an_index_with_other_values(shards, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"dw.weight": shards}}))
    refused(tmp_path, "its 'weight_map' does not give a shard for each tensor")


def test_shards_without_an_index(net, tmp_path):
    write_shards(net.state_dict(), tmp_path).unlink()
    refused(tmp_path, r"holds shards \(model-00001-of-00018\.safetensors, .*\) without their index\.json; add it")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "anything.safetensors", "best.pth", "net.ckpt", "last.pth.tar"]
)
def test_the_only_file_of_weights(name, net, tmp_path, assert_filters_of):
    (save_file if name.endswith("safetensors") else torch.save)(net.state_dict(), tmp_path / name)
    for other in ("config.json", "README.md", "training_args.bin", "optimizer.pt", "rng_state.pth", ".hidden.pth"):
        (tmp_path / other).write_text("{}")
    (tmp_path / "folder.pth").mkdir()
    bank = extract(tmp_path)
    assert_filters_of(bank, net, graph=False)
    assert bank.model == tmp_path.name


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("model.safetensors", "pytorch_model.bin"),
        ("model.safetensors", "other.safetensors"),
        ("pytorch_model.bin", "model.ckpt"),
        ("net.safetensors", "net.pth"),
        ("net.v1.safetensors", "net.v1.bin"),
    ],
)
def test_the_better_of_two_files(better, worse, net, tmp_path, assert_filters_of):
    (save_file if better.endswith("safetensors") else torch.save)(net.state_dict(), tmp_path / better)
    (tmp_path / worse).write_text("not to be read")
    assert_filters_of(extract(tmp_path), net, graph=False)


@pytest.mark.parametrize("names", [("a.pth", "b.pth"), ("a.safetensors", "b.pth"), ("net.v1.pth", "net.v2.pth")])
def test_unrelated_files_are_listed(names, tmp_path):
    for name in names:
        (tmp_path / name).write_text("x")
    refused(tmp_path, rf"holds several files of weights \({' and '.join(sorted(names))}\); name one of them")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_one_shard_alone_says_that_it_is_a_part(tmp_path, suffix):
    state = {"dw.weight": torch.rand(4, 1, 3, 3)}
    for name, count in (("model-00002-of-00003", 3), ("model-00001-of-00001", 1)):
        (save_file if suffix == ".safetensors" else torch.save)(state, tmp_path / f"{name}{suffix}")
        notes = extract(tmp_path / f"{name}{suffix}").notes
        said = ("it is part 2 of 3 of a network; give the folder, or the index of the parts, for the whole",)
        assert notes == (said if count > 1 else ())


def test_shards_with_other_numbers_say_that_they_are_parts(tmp_path):
    save_file({"dw.weight": torch.rand(4, 1, 3, 3)}, tmp_path / "model-00002-of-000163.safetensors")
    (note,) = extract(tmp_path / "model-00002-of-000163.safetensors").notes
    assert note.startswith("it is part 2 of 163 of a network")
    refused(tmp_path, r"holds shards \(model-00002-of-000163\.safetensors\) without their index\.json")


def test_a_shard_of_keras_says_that_it_is_a_part(tmp_path):
    path, said = tmp_path / "model_00001.weights.h5", ()
    with h5py.File(path, "w") as file:
        file["layers/depthwise_conv2d/vars/0"] = np.ones((3, 3, 8, 1), "f4")
    for _ in range(2):
        assert extract(path).notes == said
        (tmp_path / "model.weights.json").write_text("{}")
        said = ("it is a part of a network, of which model.weights.json lists the parts; the other parts are not read",)


def test_a_distributed_checkpoint_below_a_folder_is_named(tmp_path):
    (tmp_path / "step-1000").mkdir()
    (tmp_path / "step-1000" / ".metadata").touch()
    refused(tmp_path, r"this folder holds no weights, but folders in it do; give one of them \(step-1000\)")


@pytest.mark.parametrize("shards", [False, True])
def test_a_copy_of_a_folder_that_would_lack_tensors_is_refused(shards, tmp_path):
    state = {"dw.weight": torch.rand(4, 1, 3, 3), "fc.weight": torch.empty(4, 4, device="meta")}
    torch.save(state, tmp_path / "pytorch_model.bin")
    if shards:
        (tmp_path / "pytorch_model.bin").rename(tmp_path / "model-00001-of-00002.bin")
        index = {"weight_map": dict.fromkeys(state, "model-00001-of-00002.bin")}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(
        CheckpointError, match=r"its state dict cannot be copied in full: 'fc\.weight' \(it has no values"
    ):
        load_state(tmp_path, None)
    if shards:
        refused(tmp_path, r"lists 'fc\.weight' in model-00001-of-00002\.bin, where it is not read: it has no values")


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, r"this folder holds no weights \(\.bin, .*\.onnx, .*\.pth, .*\.safetensors, .*\)")


def test_a_folder_called_by_a_dot(net, tmp_path, monkeypatch):
    folder = tmp_path / "my-net"
    folder.mkdir()
    save_file(net.state_dict(), folder / "model.safetensors")
    monkeypatch.chdir(folder)
    assert extract(".").model == "my-net"


def test_a_choice_reaches_the_file_inside(tmp_path):
    sets = {
        name: {"dw.weight": torch.full((4, 1, 3, 3), value)} for name, value in (("params", 1.0), ("params_ema", 2.0))
    }
    torch.save(sets, tmp_path / "net.pth")
    assert extract(tmp_path, weights="params").layers[0].kernels.mean() == 1
    assert extract(tmp_path).layers[0].kernels.mean() == 2
