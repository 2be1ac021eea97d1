"""Pickles are read as data: values are those that torch and NumPy give, and what is too large is not begun."""

import argparse
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from scalekeys.checkpoints import extract, open_source
from scalekeys.errors import CheckpointError, OutputError

SHAPE = (4, 1, 3, 3)
WEIGHT = torch.linspace(-2, 2, 36).reshape(SHAPE)
PLAIN = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16, torch.int32]
PLAIN += [torch.int64, torch.bool, torch.complex64, torch.complex128, torch.uint16, torch.uint32, torch.uint64]
PLAIN += [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]


def saved(content, path, **options):
    torch.save(content, path, **options)
    return path


def same(found, expected):
    assert (found.shape, found.dtype, found.stride()) == (expected.shape, expected.dtype, expected.stride())
    assert found.flatten().view(torch.uint8).equal(expected.flatten().view(torch.uint8))


@pytest.mark.parametrize("zipped", [True, False])
def test_every_type_is_read_as_torch_reads_it(zipped, tmp_path):
    dtypes = PLAIN if zipped else [dtype for dtype in PLAIN if dtype not in PLAIN[12:]]
    state = {str(dtype): (WEIGHT * 3).to(dtype) for dtype in dtypes}
    state |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(3.5), "turned": WEIGHT.permute(3, 2, 1, 0)[1:]}
    path = saved(state, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    opened = open_source(path)
    for key, expected in torch.load(path).items():
        same(opened.load(key), expected)


class Weight(torch.Tensor):
    """A tensor of a class of the user."""


def test_parameters_and_subclasses_are_tensors(tmp_path):
    parameter = torch.nn.Parameter(WEIGHT.clone())
    parameter.note = "mine"
    state = {"a.weight": parameter, "b.weight": WEIGHT.clone().as_subclass(Weight)}
    bank = extract(saved(state, tmp_path / "net.pth"))
    assert all(torch.equal(layer.kernels, WEIGHT[:, 0]) for layer in bank)


@pytest.mark.filterwarnings("ignore")
def test_quantised_weights_are_read_as_what_they_stand_for(tmp_path):
    one = torch.quantize_per_tensor(WEIGHT, 0.02, 3, torch.quint8)
    scales = torch.arange(1, 5, dtype=torch.float64) / 70
    each = torch.quantize_per_channel(WEIGHT, scales, torch.arange(4), 0, torch.qint8)
    real = torch.quantize_per_channel(WEIGHT, scales, torch.arange(4) / 3, 0, torch.quint8)
    bank = extract(saved({"one.weight": one, "each.weight": each, "real.weight": real}, tmp_path / "net.pth"))
    for layer, expected in zip(bank, (one, each, real), strict=True):
        assert torch.equal(layer.kernels, expected.dequantize()[:, 0])


@pytest.mark.filterwarnings("ignore")
def test_what_has_no_plain_values_is_left_out_with_the_reason(tmp_path):
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    state = {"dw.weight": WEIGHT, "meta.weight": torch.empty(SHAPE, device="meta"), "nested": nested}
    state["packed.weight"] = torch.quantize_per_channel(WEIGHT, torch.ones(4), torch.zeros(4), 0, torch.quint4x2)
    bank = extract(saved(state, tmp_path / "net.pth"))
    assert [layer.name for layer in bank] == ["dw"]
    reasons = {entry.name: entry.reason for entry in bank.left_out}
    assert "no values" in reasons["meta"]
    assert "nested tensor" in reasons["nested"]
    assert "share a byte" in reasons["packed"]


class Own(torch.Tensor):
    """A tensor that is made by a function of its own."""

    def __reduce_ex__(self, protocol):
        return torch._tensor._rebuild_from_type_v2, (own, Own, (1, 2), {"values": WEIGHT})


def own(*arguments):
    return torch.ones(arguments).as_subclass(Own)


def test_tensors_whose_shape_is_not_told_are_left_out_as_well(tmp_path):
    jagged = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)
    path = saved({"dw.weight": WEIGHT, "jagged": jagged, "own": own(2, 3)}, tmp_path / "net.pth")
    reasons = {one.name: one.reason for one in extract(path).left_out}
    assert reasons.keys() == {"jagged", "own"}
    assert "nested tensor" in reasons["jagged"]
    assert "a class that is not known" in reasons["own"]


def test_sparse_weights_are_put_together(tmp_path):
    bank = extract(saved({"dw.weight": WEIGHT.to_sparse()}, tmp_path / "net.pth"))
    assert torch.equal(bank.layers[0].kernels, WEIGHT[:, 0])


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_a_sparse_weight_of_next_to_nothing_is_not_made_dense(tmp_path):
    sparse = torch.sparse_coo_tensor(torch.zeros(4, 1, dtype=torch.long), torch.ones(1), (1 << 20, 1, 15, 15))
    bank = extract(saved({"dw.weight": WEIGHT, "sp.weight": sparse}, tmp_path / "net.pth"))
    assert [layer.name for layer in bank] == ["dw"]
    assert "next to no values" in bank.left_out[0].reason


def test_shapes_beyond_any_memory_are_left_out(tmp_path):
    state = {"dw.weight": WEIGHT, "x.weight": torch.ones(1).expand(1 << 31, 1, 1 << 16, 1 << 14)}
    assert [layer.name for layer in extract(saved(state, tmp_path / "net.pth"))] == ["dw"]


def test_numbers_in_the_order_of_other_machines(tmp_path):
    saved({"dw.weight": WEIGHT, "c": WEIGHT.to(torch.complex64)}, tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "net.pth") as plain, zipfile.ZipFile(tmp_path / "big.pth", "w") as big:
        for name in plain.namelist():
            content = plain.read(name)
            if name.partition("/")[2].startswith("data/"):
                content = np.frombuffer(content, "<u4").byteswap().tobytes()
            big.writestr(name, b"big" if name.endswith("byteorder") else content)
    opened = open_source(tmp_path / "big.pth")
    assert torch.equal(opened.load("dw.weight"), WEIGHT)
    assert torch.equal(opened.load("c"), WEIGHT.to(torch.complex64))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("large", [False, True])
def test_plain_pickles_of_arrays(protocol, large, tmp_path):
    values = np.arange(64 * 49 if large else 36, dtype=np.float32)
    weight = values.reshape((64, 1, 7, 7) if large else SHAPE)
    content = {"model": {"dw.weight": weight, "turned": np.asfortranarray(weight), "big": weight.astype(">f8")}}
    content["model"] |= {"text": np.array(["a"]), "objects": np.array([None]), "epoch": np.int64(3)}
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(content | {"args": argparse.Namespace(a=1)}, protocol=protocol))
    opened = open_source(tmp_path / "net.pkl")
    assert opened.entry == ("model",)
    for key in ("dw.weight", "turned", "big"):
        assert np.array_equal(opened.load(key).numpy(), content["model"][key])


@pytest.mark.parametrize("name", ["n" * 5000, "\0"])
def test_no_name_loses_its_tensor(name, tmp_path):
    state = {f"{name}.dw.weight": WEIGHT, "dw.weight": WEIGHT}
    assert len(extract(saved(state, tmp_path / "net.pth")).layers) == 2
    assert len(extract(state).layers) == 2


def test_a_plain_pickle_of_tensors(tmp_path):
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"dw.weight": WEIGHT, "fc.weight": torch.ones(2, 3)}))
    assert torch.equal(extract(tmp_path / "net.pkl").layers[0].kernels, WEIGHT[:, 0])


class OfPaddle:
    """A tensor as ``paddle.save`` writes it: a call of ``tuple`` with its name and its values."""

    def __init__(self, values):
        self.values = values

    def __reduce__(self):
        return tuple, (("conv2d_0.w_0", self.values),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_of_paddle(protocol, tmp_path):
    state = {"dw.weight": OfPaddle(WEIGHT.numpy())}
    for name, content in (("flat", state), ("nested", {"model": state, "epoch": 3})):
        path = tmp_path / f"{name}.pdparams"
        path.write_bytes(pickle.dumps(content, protocol))
        (layer,) = extract(path).layers
        assert torch.equal(layer.kernels, WEIGHT[:, 0])


def test_a_plain_pickle_is_only_read(tmp_path):
    import scalekeys as sk

    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"dw.weight": WEIGHT}))
    keys = sk.assign_keys(extract(tmp_path / "net.pkl"))
    with pytest.raises(OutputError, match="is a plain pickle, a format that is only read"):
        sk.write_replaced(tmp_path / "net.pkl", keys, tmp_path / "new.pkl")


def test_a_tensor_that_leaves_its_storage_is_left_out(tmp_path):
    saved({"dw.weight": WEIGHT, "off.weight": torch.ones(SHAPE)}, tmp_path / "net.pth")
    content = (tmp_path / "net.pth").read_bytes()
    shape = b"(K\x04K\x01K\x03K\x03tq"
    assert content.count(shape) == 2
    last = content.rindex(shape)
    (tmp_path / "net.pth").write_bytes(
        content[:last] + shape.replace(b"K\x04", b"K\x05") + content[last + len(shape) :]
    )
    bank = extract(tmp_path / "net.pth")
    assert [layer.name for layer in bank] == ["dw"]
    assert [(entry.name, entry.shape) for entry in bank.left_out] == [("off", (5, 1, 3, 3))]


def bomb_in_the_memo(path):
    path.write_bytes(b"\x80\x02}r\xff\xff\xff\xff.")


def bomb_of_length(path):
    path.write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".")


def bomb_of_a_long(path):
    path.write_bytes(b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b".")


def bomb_of_marks(path):
    path.write_bytes(b"\x80\x02" + b"(" * (1 << 22) + b".")


def bomb_of_objects(path):
    path.write_bytes(b"\x80\x02]" + b"}a" * (1 << 22) + b".")


def bomb_of_depth(path):
    path.write_bytes(b"\x80\x02}" + b")" + b"\x85" * (1 << 21) + b"Ns.")


def bomb_of_equal_halves(path):
    path.write_bytes(b"\x80\x02})" + b"2\x86" * 100 + b"Ns.")


def bomb_of_calls(path):
    torch.save({"dw.weight": WEIGHT, "x": Sized()}, path)


class Sized:
    def __reduce__(self):
        return bytearray, (1 << 32,)


def bomb_of_copies(path):
    pairs = b"".join(b"M" + struct.pack("<H", number) + b"N\x86" for number in range(1 << 16))
    path.write_bytes(b"\x80\x02](" + pairs + b"eq\0]" + b"cbuiltins\ndict\nh\0\x85Ra" * 1000 + b".")


def bomb_of_equal_keys(path, function=b"collections\nOrderedDict\n", calls=1000):
    pairs = b"(K\1K\2\x86q\2" + b"h\2" * ((1 << 16) - 1)
    path.write_bytes(b"\x80\x02]" + pairs + b"e\x85q\0" + b"0c" + function + b"q\1]" + b"h\1h\0Ra" * calls + b".")


def bomb_of_keywords(path):
    arguments, keywords = b"(" + b"N" * (1 << 16) + b"tq\0", b"}K\1K\2sq\2"
    path.write_bytes(b"\x80\4" + arguments + b"0cx\ny\nq\0010" + keywords + b"0]" + b"h\1h\0h\2\x92a" * 1000 + b".")


def bomb_of_zeros(path):
    torch.save({"dw.weight": WEIGHT}, path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{path.stem}/data/more", "w", force_zip64=True) as record,
    ):
        for _ in range(128):
            record.write(bytes(1 << 20))


BOMBS = {name: value for name, value in globals().items() if name.startswith("bomb_")}
MEASURING = """
import pathlib, resource, sys, scalekeys, torch
from scalekeys.errors import CheckpointError
scalekeys.extract({"dw.weight": torch.ones(4, 1, 3, 3)})
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
for path in map(pathlib.Path, sys.argv[1:]):
    before = peak()
    try:
        scalekeys.extract(path)
    except CheckpointError as error:
        assert len(str(error)) < 500
    print(path.stem, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is counted in kilobytes on Linux")
def test_what_would_take_memory_takes_little(tmp_path):
    for name, bomb in BOMBS.items():
        bomb(tmp_path / f"{name}.pth")
    paths = [str(tmp_path / f"{name}.pth") for name in sorted(BOMBS, key="bomb_of_objects".__eq__)]
    done = subprocess.run([sys.executable, "-c", MEASURING, *paths], capture_output=True, text=True, check=True)
    grown = {name: int(megabytes) for name, megabytes in map(str.split, done.stdout.splitlines())}
    assert set(grown) == set(BOMBS)
    assert grown.pop("bomb_of_objects") < 256
    assert max(grown.values()) < 128


@pytest.mark.parametrize("function", ["collections\nOrderedDict\n", "builtins\nset\n", "torch\nSize\n"])
def test_calls_are_counted_by_what_they_are_given_and_not_by_what_they_make(function, tmp_path):
    bomb_of_equal_keys(tmp_path / "net.pth", function.encode(), calls=40)
    with pytest.raises(CheckpointError, match="more than 2097152 objects"):
        extract(tmp_path / "net.pth")


def archive_with(path, **changes):
    saved({"dw.weight": WEIGHT}, path.with_name("plain.pth"))
    with zipfile.ZipFile(path.with_name("plain.pth")) as plain, zipfile.ZipFile(path, "w") as other:
        for name in plain.namelist():
            other.writestr(changes.get(name.rpartition("/")[2], name), plain.read(name))
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_records_of_one_name_are_refused(tmp_path):
    path = archive_with(tmp_path / "net.pth", version="plain/byteorder")
    with pytest.raises(CheckpointError, match="two records have one name"):
        extract(path)


def test_a_directory_that_differs_from_its_records_is_refused(tmp_path):
    content = archive_with(tmp_path / "net.pth").read_bytes()
    last = content.rindex(b"plain/data/0")
    (tmp_path / "net.pth").write_bytes(content[:last] + b"plain/data/9" + content[last + 12 :])
    with pytest.raises(CheckpointError, match="the directory and the header of 'plain/data/9' differ"):
        extract(tmp_path / "net.pth")


def test_an_encrypted_archive_is_refused(tmp_path):
    content = bytearray(archive_with(tmp_path / "net.pth").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="it is encrypted"):
        extract(tmp_path / "net.pth")


def test_modules_that_hold_one_another_without_end(tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4))
    module._modules["1"] = module
    torch.save(module, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="modules that hold one another without end"):
        extract(tmp_path / "net.pth")


NET = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3, groups=4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "names"),
    [
        (torch.fx.symbolic_trace, ["1"]),
        (lambda net: {"model": torch.fx.symbolic_trace(net)}, ["1"]),
        (lambda net: torch.nn.Sequential(torch.fx.symbolic_trace(net), net[1]), ["0.1", "1"]),
        (lambda net: torch.compile(net, backend="eager"), ["1"]),
    ],
)
def test_modules_that_are_handed_to_what_makes_them(make, names, tmp_path):
    bank = extract(saved(make(NET), tmp_path / "net.pth"))
    assert [layer.name for layer in bank] == names
    assert torch.equal(bank.layers[0].kernels, NET[1].weight[:, 0])


@pytest.mark.filterwarnings("ignore")
def test_a_whole_quantised_module(tmp_path):
    weight = torch.quantize_per_tensor(WEIGHT, 0.01, 0, torch.qint8)
    layer = torch.ao.nn.quantized.Conv2d(4, 4, 3, groups=4)
    layer.set_weight_bias(weight, torch.zeros(4))
    bank = extract(saved(torch.nn.Sequential(layer, torch.nn.Conv2d(4, 4, 5, groups=4)), tmp_path / "net.pth"))
    assert [layer.name for layer in bank] == ["0", "1"]
    assert torch.equal(bank.layers[0].kernels, weight.dequantize()[:, 0])


class OfPython2:
    """A dict as Python 2 pickles an ``OrderedDict``: a call of its class with a list of lists."""

    def __init__(self, items):
        self.items = items

    def __reduce__(self):
        return OrderedDict, ([list(pair) for pair in self.items],)


def test_dicts_of_python_2(tmp_path):
    state = OfPython2([("dw.weight", WEIGHT), ("dw.bias", torch.ones(4))])
    for content in (state, {"state_dict": state, "epoch": 3}):
        path = saved(content, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
        (layer,) = extract(path).layers
        assert torch.equal(layer.kernels, WEIGHT[:, 0])
