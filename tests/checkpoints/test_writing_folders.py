"""Folders with other filters: sharded, whole, with other files beside."""

import json

import h5py
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from replaced_weights import assert_same, names_in, replaced_state
from safetensors.torch import load_file, save_file

import scalekeys as sk
from scalekeys.errors import CheckpointError, OutputError


def write_shards(state, folder, suffix):
    """Write one shard for each pair of keys, and their index."""
    folder.mkdir()
    stem, keys = "model" if suffix == ".safetensors" else "pytorch_model", list(state)
    pairs = [keys[start : start + 2] for start in range(0, len(keys), 2)]
    home = {}
    for number, pair in enumerate(pairs, 1):
        name = f"{stem}-{number:05}-of-{len(pairs):05}{suffix}"
        (save_file if suffix == ".safetensors" else torch.save)({key: state[key] for key in pair}, folder / name)
        home |= dict.fromkeys(pair, name)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": home}))
    return index


def read_shards(index):
    found = {}
    for name in dict.fromkeys(json.loads(index.read_text())["weight_map"].values()):
        found |= load_file(index.parent / name) if name.endswith(".safetensors") else torch.load(index.parent / name)
    return found


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("by", ["folder", "index"])
def test_shards_of_either_format(suffix, by, net, tmp_path):
    index = write_shards(net.state_dict(), tmp_path / "net", suffix)
    (tmp_path / "net" / "config.json").write_text("{}")
    source = tmp_path / "net" if by == "folder" else index
    chosen = sk.replacement(sk.assign_keys(sk.extract(source)))
    assert sk.write_replaced(source, chosen, tmp_path / "new") == ()
    assert names_in(tmp_path / "new") == names_in(tmp_path / "net")
    expected, found = replaced_state(net.state_dict(), chosen), read_shards(tmp_path / "new" / index.name)
    assert_same({key: found[key] for key in expected}, expected)
    same = [name for name in names_in(tmp_path / "net") if not _differ(tmp_path, name)]
    assert len(names_in(tmp_path / "net")) - len(same) == 3
    assert {index.name, "config.json"} <= set(same)
    for layer, other in zip(sk.extract(tmp_path / "new"), chosen.filters, strict=True):
        assert torch.equal(layer.kernels, other.kernels)


def _differ(folder, name):
    return (folder / "net" / name).read_bytes() != (folder / "new" / name).read_bytes()


def test_transformers_loads_the_copy(tmp_path):
    transformers = pytest.importorskip("transformers")
    configuration = transformers.ConvNextV2Config(hidden_sizes=[8, 16, 24, 32], depths=[1, 2, 1, 1], num_stages=4)
    network = transformers.ConvNextV2Model(configuration)
    network.save_pretrained(tmp_path / "net", max_shard_size="60KB")
    chosen = sk.replacement(sk.assign_keys(sk.extract(tmp_path / "net")), min_r2=0.1)
    sk.write_replaced(tmp_path / "net", chosen, tmp_path / "new")
    copy = transformers.ConvNextV2Model.from_pretrained(tmp_path / "new")
    assert_same(copy.state_dict(), replaced_state(network.state_dict(), chosen))


def test_what_is_not_copied_is_said(net, tmp_path):
    source = tmp_path / "net"
    source.mkdir()
    save_file(net.state_dict(), source / "model.safetensors")
    torch.save(net.state_dict(), source / "pytorch_model.bin")
    torch.save({"state": {}}, source / "optimizer.pt")
    for folder in (".git", "checkpoint-100"):
        (source / folder).mkdir()
    (source / "README.md").write_text("mine")
    (source / "dangling.txt").symlink_to("nowhere")
    notes = sk.write_replaced(source, sk.assign_keys(sk.extract(source)), tmp_path / "new")
    assert names_in(tmp_path / "new") == ["README.md", "model.safetensors", "optimizer.pt"]
    (note,) = notes
    assert note == (
        "left out .git, checkpoint-100, dangling.txt and pytorch_model.bin: "
        "other weights, folders and hidden files are not copied"
    )


def test_an_onnx_model_in_a_folder_keeps_the_names_of_its_files(tmp_path):
    (tmp_path / "net").mkdir()
    weight = numpy_helper.from_array(torch.rand(4, 1, 5, 5).numpy(), "dw.weight")
    info = [helper.make_tensor_value_info(end, TensorProto.FLOAT, None) for end in "xy"]
    node = helper.make_node("Conv", ["x", "dw.weight"], ["y"], group=4)
    model = helper.make_model(helper.make_graph([node], "graph", info[:1], info[1:], [weight]))
    path = tmp_path / "net" / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="a.bin.data", size_threshold=0)
    chosen = sk.replacement(sk.assign_keys(sk.extract(tmp_path / "net")))
    assert sk.write_replaced(tmp_path / "net", chosen, tmp_path / "new") == ()
    assert names_in(tmp_path / "new") == ["a.bin.data", "model.onnx"]
    (layer,) = sk.extract(tmp_path / "new")
    assert torch.equal(layer.kernels, chosen.filters.layers[0].kernels)


def test_the_folder_itself_is_refused(net, tmp_path):
    index = write_shards(net.state_dict(), tmp_path / "net", ".safetensors")
    for source in (tmp_path / "net", index):
        with pytest.raises(OutputError, match="net: is the source itself"):
            sk.write_replaced(source, sk.assign_keys(sk.extract(source)), tmp_path / "net", force=True)


def test_an_existing_folder(net, tmp_path):
    index = write_shards(net.state_dict(), tmp_path / "net", ".safetensors")
    chosen = sk.assign_keys(sk.extract(index))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="this output folder exists already; give --force"):
        sk.write_replaced(index, chosen, tmp_path / "new")
    sk.write_replaced(index, chosen, tmp_path / "new", force=True)
    assert names_in(tmp_path / "new") == sorted([*names_in(tmp_path / "net"), "mine.txt"])


def test_a_file_that_cannot_be_copied_leaves_nothing_behind(net, tmp_path, monkeypatch):
    write_shards(net.state_dict(), tmp_path / "net", ".safetensors")
    chosen = sk.assign_keys(sk.extract(tmp_path / "net"))

    def fail(source, _target):
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr("scalekeys.checkpoints.sources.folder.shutil.copyfile", fail)
    with pytest.raises(CheckpointError, match=r"json: cannot be copied \(Permission denied\)"):
        sk.write_replaced(tmp_path / "net", chosen, tmp_path / "new")
    assert names_in(tmp_path) == ["net"]


def test_a_folder_with_weights_that_are_only_read(tmp_path):
    (tmp_path / "net").mkdir()
    with h5py.File(tmp_path / "net" / "model.h5", "w") as file:
        file["dw/depthwise_kernel:0"] = torch.randn(3, 3, 4, 1).numpy()
    chosen = sk.replacement(sk.assign_keys(sk.extract(tmp_path / "net")))
    with pytest.raises(OutputError, match="Keras files are only read"):
        sk.write_replaced(tmp_path / "net", chosen, tmp_path / "new")
    assert not (tmp_path / "new").exists()
