"""Weights in other containers: TorchScript, torch.export, NumPy, NeMo, and distributed checkpoints."""

import errno
import io
import json
import pickle
import shutil
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import scalekeys as sk
from scalekeys.checkpoints import extract
from scalekeys.checkpoints.formats.stored import sources
from scalekeys.checkpoints.formats.stored.tensors import Assembled, Piece
from scalekeys.errors import CheckpointError, OutputError

WEIGHT = torch.linspace(-2, 2, 36).reshape(4, 1, 3, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, torch.zeros(1, 3, 16, 16))])
def test_torchscript_is_read_by_the_names_of_its_modules(make, net, tmp_path, assert_filters_of):
    make(net).save(tmp_path / "script.pt")
    assert_filters_of(extract(tmp_path / "script.pt"), net, graph=False)


@pytest.mark.filterwarnings("ignore")
def test_weights_that_freezing_has_made_constants_are_not_lost(net, tmp_path):
    torch.jit.freeze(torch.jit.script(net.eval())).save(tmp_path / "frozen.pt")
    found = {tuple(layer.kernels.shape) for layer in extract(tmp_path / "frozen.pt")}
    assert found == {(8, 7, 7), (16, 3, 3), (16, 1, 5)}


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_network_in_torchscript(tmp_path):
    weight = torch.quantize_per_tensor(torch.rand(4, 1, 3, 3), 0.01, 0, torch.qint8)
    layer = torch.ao.nn.quantized.Conv2d(4, 4, 3, groups=4)
    layer.set_weight_bias(weight, None)
    torch.jit.script(nn.Sequential(layer)).save(tmp_path / "net.pt")
    (read,) = extract(tmp_path / "net.pt").layers
    assert (read.name, torch.equal(read.kernels, weight.dequantize()[:, 0])) == ("0", True)


@pytest.mark.filterwarnings("ignore")
def test_a_program_of_torch_export(net, tmp_path, assert_filters_of):
    program = torch.export.export(net, (torch.zeros(1, 3, 16, 16),))
    torch.export.save(program, tmp_path / "net.pt2")
    assert_filters_of(extract(tmp_path / "net.pt2"), net, graph=False)


def test_a_program_of_an_older_torch_export(net, tmp_path, assert_filters_of):
    state = io.BytesIO()
    torch.save(net.state_dict(), state)
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", state.getvalue())
        archive.writestr("version", "5.1")
    assert_filters_of(extract(tmp_path / "net.pt2"), net, graph=False)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_numpy(save, net, tmp_path, assert_filters_of):
    arrays = {key: value.numpy() for key, value in net.state_dict().items()}
    save(tmp_path / "net.npz", **arrays, mine=np.array([None]))
    assert_filters_of(extract(tmp_path / "net.npz"), net, graph=False)


def test_arrays_in_other_orders_are_read_alike(tmp_path):
    values = WEIGHT.numpy()
    np.savez(tmp_path / "net.npz", plain=values, turned=np.asfortranarray(values), big=values.astype(">f4"))
    assert all(torch.equal(layer.kernels, WEIGHT[:, 0]) for layer in extract(tmp_path / "net.npz"))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_nemo_archive(mode, net, tmp_path, assert_filters_of):
    torch.save(net.state_dict(), tmp_path / "model_weights.ckpt")
    with tarfile.open(tmp_path / "net.nemo", mode) as archive:
        for name in ("model_config.yaml", "model_weights.ckpt"):
            (tmp_path / name).touch()
            archive.add(tmp_path / name, f"./{name}")
    (tmp_path / "model_weights.ckpt").unlink()
    assert_filters_of(extract(tmp_path / "net.nemo"), net, graph=False)


def test_a_tar_archive_of_something_else(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    with tarfile.open(tmp_path / "net.nemo", "w") as archive:
        archive.add(tmp_path / "readme.txt", "readme.txt")
    with pytest.raises(CheckpointError, match="is a tar archive with no weights inside; unpack it"):
        extract(tmp_path / "net.nemo")


def test_a_nemo_archive_of_zeros_is_not_unpacked(tmp_path):
    with tarfile.open(tmp_path / "net.nemo", "w:gz") as archive:
        member = tarfile.TarInfo("model_weights.ckpt")
        member.size = 1 << 27
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(CheckpointError, match=r"would grow from .* and is not unpacked; do not trust the file"):
        extract(tmp_path / "net.nemo")


@pytest.fixture
def distributed(net, tmp_path):
    from torch.distributed import checkpoint

    content = {"model": net.state_dict(), "optimizer": {"m": torch.ones(8, 1, 7, 7)}, "epoch": 3}
    checkpoint.save(content, checkpoint_id=tmp_path / "dcp", no_dist=True)
    return tmp_path / "dcp"


@pytest.mark.filterwarnings("ignore")
def test_a_distributed_checkpoint(distributed, net, assert_filters_of):
    bank = extract(distributed)
    assert_filters_of(bank, net, graph=False)
    left = "left 'optimizer' alone, as a state of training by name (--weights takes it)"
    assert bank.notes == ("weights are read from the entry 'model'", left)
    with pytest.raises(OutputError, match="is a distributed checkpoint, a format that is only read"):
        sk.write_replaced(distributed, sk.assign_keys(bank), distributed.with_name("new"))


@pytest.mark.filterwarnings("ignore")
def test_a_part_of_a_distributed_checkpoint_that_is_missing(distributed):
    (distributed / "__0_0.distcp").unlink()
    with pytest.raises(CheckpointError, match=r"the part __0_0\.distcp is missing; fetch it into the same folder"):
        extract(distributed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ["../x", "/etc/passwd", "a\0b", ""])
def test_a_distributed_checkpoint_leads_to_no_other_place(place, distributed):
    old, new = (pickle.dumps(name, protocol=4)[12:-2] for name in ("__0_0.distcp", place))
    content = (distributed / ".metadata").read_bytes()
    assert old in content
    (distributed / ".metadata").write_bytes(content.replace(old, new))
    with pytest.raises(CheckpointError, match=r"which is no file in the folder|is damaged"):
        extract(distributed)


def shards(folder, offsets):
    folder.mkdir()
    for number, (start, part) in enumerate(zip(offsets, WEIGHT.split(2), strict=True), 1):
        told = json.dumps({"dw.weight": {"saved_offsets": [start, 0, 0, 0]}})
        path = folder / f"shard-{number:05}-model-00001-of-00001.safetensors"
        save_file({"dw.weight": part.contiguous()}, path, {"format": "pt", "DCP_SHARDING_INFO": told})
    return folder


def test_parts_of_safetensors_are_one_network(tmp_path):
    folder = shards(tmp_path / "hf", (0, 2))
    assert torch.equal(extract(folder).layers[0].kernels, WEIGHT[:, 0])
    (note,) = extract(folder / "shard-00001-model-00001-of-00001.safetensors").notes
    assert "is a part of a checkpoint of several processes" in note


def test_parts_of_safetensors_with_a_gap_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"tensor 'dw\.weight': .*some of its pieces are missing"):
        extract(shards(tmp_path / "hf", (0, 3)))


def test_every_part_is_needed(tmp_path):
    folder = shards(tmp_path / "hf", (0, 2))
    shutil.copy(folder / "shard-00001-model-00001-of-00001.safetensors", tmp_path)
    (folder / "shard-00001-model-00001-of-00001.safetensors").unlink()
    with pytest.raises(CheckpointError, match="some of its pieces are missing"):
        extract(folder)


def test_a_program_whose_values_are_missing_lists_them(net, tmp_path):
    program, path = torch.export.export(net, (torch.zeros(1, 3, 16, 16),)), tmp_path / "net.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    lost = {key for key, content in records.items() if "/weights/weight_" in key and len(content) == 8 * 49 * 4}
    with zipfile.ZipFile(path, "w") as archive:
        for key in records.keys() - lost:
            archive.writestr(key, records[key])
    found = {(one.shape, one.reason) for one in extract(path).left_out}
    assert ((8, 1, 7, 7), "its values are missing in the archive") in found


def test_a_compressed_record_that_is_damaged_is_one_sentence(tmp_path):
    torch.save({"dw.weight": WEIGHT}, tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "net.pth") as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(tmp_path / "new.pth", "w") as archive:
        for key, content in records.items():
            archive.writestr(key, content, zipfile.ZIP_DEFLATED if key.endswith("byteorder") else zipfile.ZIP_STORED)
        place = next(info.header_offset for info in archive.infolist() if info.filename.endswith("byteorder"))
    content = bytearray((tmp_path / "new.pth").read_bytes())
    start = place + 30 + len("net/byteorder")
    content[start : start + 4] = b"\xff" * 4
    (tmp_path / "new.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="byteorder' cannot be decompressed"):
        extract(tmp_path / "new.pth")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_a_distributed_checkpoint_that_may_not_be_read(name, distributed, monkeypatch):
    opened = sources.open_regular

    def deny(path):
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(sources, "open_regular", deny)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Permission denied\)"):
        extract(distributed)


def test_equal_parts_of_several_processes_count_once_and_overlaps_are_refused():
    def assembled(*starts):
        pieces = [Piece((start,), (2,), lambda: torch.ones(2)) for start in starts]
        return Assembled((4,), torch.float32, tuple(pieces)).load()

    assert torch.equal(assembled(0, 2, 2, 0), torch.ones(4))
    with pytest.raises(ValueError, match="overlap"):
        assembled(0, 1, 2)
