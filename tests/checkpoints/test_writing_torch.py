"""Files of ``torch.save`` with other filters."""

import argparse
import io
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from replaced_weights import assert_same, changed_bytes, names_in, replaced_state

import scalekeys as sk
from scalekeys.errors import CheckpointError

FORMATS = {"zip": {}, "old": {"_use_new_zipfile_serialization": False}}


@pytest.fixture(params=FORMATS)
def save(request):
    return lambda content, path: torch.save(content, path, **FORMATS[request.param])


def assigned(source, *, weights=None, **options):
    return sk.replacement(sk.assign_keys(sk.extract(source, weights=weights)), **options)


def replace(path, *, weights=None, **options):
    """Replace by keys, and return what was replaced, the file as it is loaded safely, and the notes."""
    chosen = assigned(path, weights=weights, **options)
    target = path.with_name(f"new-{path.name}")
    notes = sk.write_replaced(path, chosen, target, weights=weights)
    if zipfile.is_zipfile(target):
        with zipfile.ZipFile(target) as archive:
            assert archive.testzip() is None
    return chosen, torch.load(target, weights_only=True), notes


def in_type(net, dtype):
    return OrderedDict(
        (key, value.to(dtype) if value.is_floating_point() else value) for key, value in net.state_dict().items()
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_only_the_replaced_filters_change(dtype, net, save, tmp_path):
    state = in_type(net, dtype)
    save(state, tmp_path / "net.pth")
    before = (tmp_path / "net.pth").read_bytes()
    chosen, found, notes = replace(tmp_path / "net.pth", min_r2=0.5)
    assert 0 < chosen.replaced.sum() < len(chosen.bank)
    assert notes == ()
    assert_same(found, replaced_state(state, chosen))
    assert (tmp_path / "net.pth").read_bytes() == before
    assert names_in(tmp_path) == ["net.pth", "new-net.pth"]


def test_a_type_that_only_archives_can_hold(net, tmp_path):
    state = in_type(net, torch.float8_e4m3fn)
    torch.save(state, tmp_path / "net.pth")
    chosen, found, _ = replace(tmp_path / "net.pth")
    assert_same(found, replaced_state(state, chosen))


def test_every_other_byte_stays(net, tmp_path):
    """In the old format; in an archive four bytes more change in two places of each changed record, its checksum."""
    for name, more in (("old", 0), ("zip", 8)):
        torch.save(net.state_dict(), tmp_path / f"{name}.pth", **FORMATS[name])
        replace(tmp_path / f"{name}.pth", layers=["blocks.0"])
        before, after = ((tmp_path / file).read_bytes() for file in (f"{name}.pth", f"new-{name}.pth"))
        places = changed_bytes(before, after)
        assert 8 * 49 * 2 < len(places) <= 8 * 49 * 4 + more
        inside = [place for place in places if place < min(places) + 8 * 49 * 4]
        assert more // 2 <= len(places) - len(inside) <= more


def test_what_lies_beside_the_weights_stays(net, save, tmp_path):
    """Also what would be lost by loading and saving, such as the arguments of a training script."""
    weights = net.state_dict()
    content = {
        "epoch": 7,
        "state_dict": weights,
        "optimizer": {"state": {0: {"exp_avg": torch.rand(8, 1, 7, 7)}}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(lr=0.1),
    }
    save(content, tmp_path / "net.pth")
    chosen = assigned(tmp_path / "net.pth")
    sk.write_replaced(tmp_path / "net.pth", chosen, tmp_path / "new.pth")
    found = torch.load(tmp_path / "new.pth", weights_only=False)
    assert_same(found["state_dict"], replaced_state(weights, chosen))
    assert found["args"] == content["args"]
    assert found["epoch"] == 7
    assert torch.equal(found["optimizer"]["state"][0]["exp_avg"], content["optimizer"]["state"][0]["exp_avg"])


def test_one_of_several_sets_of_weights_is_changed(net, save, tmp_path):
    trained, averaged = net.state_dict(), {key: value + 1 for key, value in net.state_dict().items()}
    save({"params": trained, "params_ema": averaged}, tmp_path / "net.pth")
    chosen, found, notes = replace(tmp_path / "net.pth")
    assert notes == ("only 'params_ema' is changed, not 'params'",)
    assert_same(found["params"], trained)
    assert_same(found["params_ema"], replaced_state(averaged, chosen))


def test_the_set_of_weights_that_is_named_is_changed(net, save, tmp_path):
    trained, averaged = net.state_dict(), {key: value + 1 for key, value in net.state_dict().items()}
    save({"params": trained, "params_ema": averaged}, tmp_path / "net.pth")
    chosen, found, notes = replace(tmp_path / "net.pth", weights="params")
    assert notes == ("only 'params' is changed, not 'params_ema'",)
    assert_same(found["params"], replaced_state(trained, chosen))
    assert_same(found["params_ema"], averaged)


def test_sets_of_weights_that_share_a_storage_change_together(net, save, tmp_path):
    weights = net.state_dict()
    other = {key: value.clone() for key, value in weights.items()}
    save({"state_dict": weights, "model": dict(weights), "ema": other}, tmp_path / "net.pth")
    chosen, found, notes = replace(tmp_path / "net.pth", weights="state_dict")
    assert notes == (
        "'state_dict' shares its storage with 'model': they change together",
        "only 'state_dict' is changed, not 'ema'",
    )
    expected = replaced_state(weights, chosen)
    assert_same(found["state_dict"], expected)
    assert_same(found["model"], expected)
    assert_same(found["ema"], other)


def test_tied_layers_change_together(save, tmp_path):
    weight = torch.rand(8, 1, 5, 5)
    save({"a.weight": weight, "b.weight": weight}, tmp_path / "net.pth")
    chosen, found, _ = replace(tmp_path / "net.pth")
    assert_same(found, replaced_state({"a.weight": weight, "b.weight": weight}, chosen))
    assert found["a.weight"].data_ptr() == found["b.weight"].data_ptr()


def test_of_tied_layers_none_can_be_kept(save, tmp_path):
    weight = torch.rand(8, 1, 5, 5)
    save({"a.weight": weight, "b.weight": weight}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="layer 'b' shares its memory with weights"):
        sk.write_replaced(tmp_path / "net.pth", assigned(tmp_path / "net.pth", layers=["a"]), tmp_path / "new.pth")
    assert names_in(tmp_path) == ["net.pth"]


def views():
    """Return weights that are parts of one storage: at an offset, with steps, with axes in another order."""
    flat = torch.rand(4000)
    state = {
        "flat": flat,
        "offset.weight": flat[100:136].view(4, 1, 3, 3),
        "steps.weight": flat[200:600].view(4, 1, 10, 10)[:, :, ::2, 1:6],
        "channels.weight": flat[900:1000].view(5, 5, 4).permute(2, 0, 1)[:, None],
        "parameter.weight": torch.nn.Parameter(flat[2000:2036].view(4, 1, 3, 3)),
    }
    return state | {"format.weight": torch.rand(8, 1, 3, 3).to(memory_format=torch.channels_last)}


def test_views_of_a_storage(save, tmp_path):
    state = views()
    save(state, tmp_path / "net.pth")
    chosen, found, _ = replace(tmp_path / "net.pth")
    expected = replaced_state({key: value for key, value in state.items() if key != "flat"}, chosen)
    flat = state["flat"].clone()
    for key in expected:
        if key != "format.weight":
            view = state[key]
            flat.as_strided(view.shape, view.stride(), view.storage_offset())[...] = expected[key]
    assert_same(found, {"flat": flat} | expected)
    for key, value in found.items():
        assert value.stride() == state[key].stride()


def test_filters_in_the_same_memory(save, tmp_path):
    save({"dw.weight": torch.rand(1, 1, 5, 5).expand(4, 1, 5, 5)}, tmp_path / "net.pth")
    chosen, found, _ = replace(tmp_path / "net.pth")  # all four alike: no contradiction
    assert_same(found, replaced_state(torch.load(tmp_path / "net.pth"), chosen))
    overlapping = torch.rand(28).as_strided((4, 1, 5, 5), (1, 1, 5, 1))
    save({"dw.weight": overlapping}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="layer 'dw' shares its memory"):
        replace(tmp_path / "other.pth")


def rewritten(path, target, **options):
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w", **options) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    return target


def test_a_compressed_archive_stays_compressed(net, tmp_path):
    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pth")
    path = rewritten(tmp_path / "net.pth", tmp_path / "small.pth", compression=zipfile.ZIP_DEFLATED)
    chosen, found, _ = replace(path)
    assert_same(found["state_dict"], replaced_state(net.state_dict(), chosen))
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(tmp_path / "new-small.pth") as after:
        assert before.namelist() == after.namelist()
        assert {record.compress_type for record in after.infolist()} == {zipfile.ZIP_DEFLATED}
        changed = [name for name in before.namelist() if before.read(name) != after.read(name)]
    assert len(changed) == 3


def test_checksums_in_the_headers_of_records(net, tmp_path):
    """Python writes them there; torch writes them behind the bytes."""
    torch.save(net.state_dict(), tmp_path / "torch.pth")
    path = rewritten(tmp_path / "torch.pth", tmp_path / "python.pth")
    for file, descriptor in ((tmp_path / "torch.pth", True), (path, False)):
        chosen, found, _ = replace(file)
        assert_same(found, replaced_state(net.state_dict(), chosen))
        content = (tmp_path / f"new-{file.name}").read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for record in archive.infolist():
                assert bool(record.flag_bits & 8) == descriptor
                name, extra = struct.unpack_from("<HH", content, record.header_offset + 26)
                behind = record.header_offset + 30 + name + extra + record.file_size
                place = behind + 4 if descriptor else record.header_offset + 14
                assert struct.unpack_from("<I", content, place) == (record.CRC,)


def test_a_descriptor_may_lack_its_signature(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pth")
    content = (tmp_path / "net.pth").read_bytes()
    assert content.count(b"PK\x07\x08") > 10
    # what stands for the signature then belongs to the checksum, which nothing reads there
    (tmp_path / "net.pth").write_bytes(content.replace(b"PK\x07\x08", b"XXXX"))
    before = (tmp_path / "net.pth").read_bytes()
    replace(tmp_path / "net.pth", layers=["blocks.1"])
    after = (tmp_path / "new-net.pth").read_bytes()
    assert after.count(b"XXXX") == before.count(b"XXXX") - 1


def test_a_weight_that_is_stored_in_a_special_way_is_refused(tmp_path):
    state = {"dw.weight": torch.rand(4, 1, 3, 3).to_sparse(), "other.weight": torch.rand(4, 1, 3, 3)}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="layer 'dw' is stored sparsely; make it dense first"):
        replace(tmp_path / "net.pth")
    chosen, found, _ = replace(tmp_path / "net.pth", layers=["other"])
    assert torch.equal(found["dw.weight"].to_dense(), state["dw.weight"].to_dense())
    assert torch.equal(found["other.weight"][:, 0], chosen.filters.layers[1].kernels)


def test_published_networks(shared, tmp_path):
    """One of each format."""
    for name, changed in (("lkdn_x4", 50), ("mcunet-320kb-1mb_imagenet", 18)):
        source, target = shared / "weights" / f"{name}.pth", tmp_path / f"{name}.pth"
        chosen = assigned(source)
        sk.write_replaced(source, chosen, target)
        key = "params_ema" if name == "lkdn_x4" else "state_dict"
        before, after = (torch.load(path, weights_only=True, map_location="cpu") for path in (source, target))
        assert sum(not torch.equal(before[key][name], after[key][name]) for name in before[key]) == changed
        assert_same(after[key], replaced_state(before[key], chosen))
