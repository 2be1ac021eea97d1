"""What is saved comes back, from every format and type."""

import copy
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.checkpoints import extract, open_source

FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def save_zip(state, path):
    torch.save(state, path)


def save_legacy(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


SAVERS = {"zip": (save_zip, ".pth"), "legacy": (save_legacy, ".pth"), "safetensors": (save_file, ".safetensors")}


@pytest.fixture(params=SAVERS)
def saver(request):
    return SAVERS[request.param]


@pytest.mark.parametrize("dtype", FLOATS)
def test_round_trip(net, saver, dtype, tmp_path, assert_filters_of):
    save, suffix = saver
    path = tmp_path / f"net{suffix}"
    save(copy.deepcopy(net).to(dtype).state_dict(), path)
    bank = extract(path)
    assert_filters_of(bank, net, graph=False, dtype=dtype)
    assert bank.model == "net"
    assert bank.notes == ()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("container", ["zip", "safetensors"])
def test_eight_bit_floats_are_widened(container, dtype, tmp_path):
    save, suffix = SAVERS[container]
    weight = torch.linspace(-2, 2, 36).reshape(4, 1, 3, 3).to(dtype)
    save({"dw.weight": weight}, tmp_path / f"net{suffix}")
    (layer,) = extract(tmp_path / f"net{suffix}").layers
    assert layer.kernels.dtype == torch.float32
    assert torch.equal(layer.kernels, weight[:, 0].to(torch.float32))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".onnx", ".bin", ".weights", ""])
def test_the_content_decides_not_the_name(net, saver, suffix, tmp_path, assert_filters_of):
    save, own = saver
    save(net.state_dict(), tmp_path / f"original{own}")
    path = (tmp_path / f"original{own}").rename(tmp_path / f"net{suffix}")
    assert_filters_of(extract(str(path)), net, graph=False)


def test_a_compressed_archive_is_read_in_full(net, tmp_path, assert_filters_of):
    torch.save(net.state_dict(), tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.namelist():
            packed.writestr(member, plain.read(member))
    assert_filters_of(extract(tmp_path / "net.pth"), net, graph=False)


def test_filters_outlive_their_file(net, saver, tmp_path, assert_filters_of):
    save, suffix = saver
    path = tmp_path / f"net{suffix}"
    save(net.state_dict(), path)
    bank = extract(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert_filters_of(bank, net, graph=False)


def test_reading_leaves_the_file_alone(net, saver, tmp_path):
    save, suffix = saver
    path = tmp_path / f"net{suffix}"
    save(net.state_dict(), path)
    before = path.read_bytes()
    for layer in extract(path).layers:
        layer.kernels.zero_()
    assert path.read_bytes() == before


def test_a_pth_keeps_its_own_order(tmp_path):
    state = {f"{name}.weight": torch.ones(4, 1, 3, 3) for name in ("z", "head", "stem", "a10", "a2")}
    torch.save(state, tmp_path / "net.pth")
    assert [layer.name for layer in extract(tmp_path / "net.pth").layers] == ["z", "head", "stem", "a10", "a2"]


def test_safetensors_are_put_in_the_order_of_a_network(tmp_path):
    order = [
        "stem.1",
        "stages.0.blocks.2.dw",
        "stages.0.blocks.10.dw",
        "stages.1.downsample.dw",
        "stages.1.blocks.0.dw",
    ]
    order += ["stages.1.blocks.0.mlp.dw", "stages.10.dw", "decode_head.dw", "classifier.dw"]
    save_file({f"{name}.weight": torch.ones(4, 1, 3, 3) for name in sorted(order)}, tmp_path / "net.safetensors")
    assert [layer.name for layer in extract(tmp_path / "net.safetensors").layers] == order


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.module."])
def test_wrappers_leave_no_trace_in_names(net, saver, prefix, tmp_path, assert_filters_of):
    save, suffix = saver
    save({prefix + key: value for key, value in net.state_dict().items()}, tmp_path / f"net{suffix}")
    assert_filters_of(extract(tmp_path / f"net{suffix}"), net, graph=False)


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_wrappers_are_taken_out_wherever_they_stand(wrapper):
    state = {f"{wrapper}.a.{wrapper}.dw.weight": torch.ones(4, 1, 3, 3), "other.weight": torch.ones(4, 1, 3, 3)}
    assert [layer.name for layer in extract(state).layers] == ["a.dw", "other"]


def test_names_that_would_become_equal_stay():
    state = {"a.module.dw.weight": torch.ones(4, 1, 3, 3), "a.dw.weight": torch.ones(4, 1, 5, 5)}
    assert [layer.name for layer in extract(state).layers] == ["a.module.dw", "a.dw"]


def test_a_counter_beside_the_weights_does_not_keep_the_prefix(net, assert_filters_of):
    averaged = torch.optim.swa_utils.AveragedModel(net)
    assert "n_averaged" in averaged.state_dict()
    assert_filters_of(extract(averaged.state_dict()), net, graph=False)


def test_values_that_are_not_finite_come_through(saver, tmp_path):
    save, suffix = saver
    weight = torch.ones(4, 1, 3, 3)
    weight[1], weight[2] = torch.nan, torch.inf
    save({"dw.weight": weight}, tmp_path / f"net{suffix}")
    (layer,) = extract(tmp_path / f"net{suffix}").layers
    assert torch.equal(layer.kernels.isfinite().all((-2, -1)), torch.tensor([True, False, False, True]))


def test_each_layer_leads_back_to_its_tensor(net, saver, tmp_path):
    save, suffix = saver
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    nested = suffix == ".pth"
    save({"params": state} if nested else state, tmp_path / f"net{suffix}")
    opened = open_source(tmp_path / f"net{suffix}")
    assert opened.entry == (("params",) if nested else ())
    for layer in opened.layers:
        assert torch.equal(opened.load(layer.key), state[layer.key])
        assert opened.tensors[layer.key].shape == tuple(state[layer.key].shape)
    assert set(opened.tensors) == set(state)


def test_numpy_arrays_in_a_dict(net, assert_filters_of):
    arrays = {key: value.numpy() for key, value in net.state_dict().items()}
    assert isinstance(arrays["stem.weight"], np.ndarray)
    assert_filters_of(extract(arrays), net, graph=False)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_numpy_arrays_of_types_that_numpy_alone_does_not_have(name):
    dtype = getattr(pytest.importorskip("ml_dtypes"), name)
    weight = torch.linspace(-2, 2, 36).reshape(4, 1, 3, 3)
    (layer,) = extract({"dw.weight": weight.numpy().astype(dtype)}).layers
    assert torch.equal(layer.kernels[:, None], weight.to(getattr(torch, name)).float())


def test_a_tilde_is_the_home_folder(net, tmp_path, monkeypatch, assert_filters_of):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert_filters_of(extract("~/net.pth"), net, graph=False)
    sk.write_replaced("~/net.pth", sk.fit(extract("~/net.pth"), "jet1"), "~/copy.pth")
    assert (tmp_path / "copy.pth").is_file()


def test_links_are_followed(net, saver, tmp_path, assert_filters_of):
    save, suffix = saver
    save(net.state_dict(), tmp_path / f"blob{suffix}")
    shutil.move(tmp_path / f"blob{suffix}", tmp_path / "blob")
    (tmp_path / f"net{suffix}").symlink_to("blob")
    assert_filters_of(extract(tmp_path / f"net{suffix}"), net, graph=False)
