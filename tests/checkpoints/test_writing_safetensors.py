"""Safetensors files with other filters, and what holds for every copy."""

import pytest
import torch
from replaced_weights import assert_same, changed_bytes, names_in, replaced_state
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import scalekeys as sk
from scalekeys.checkpoints import open_source, writing
from scalekeys.errors import CheckpointError, FilterError, ModelError, OutputError

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2]


@pytest.fixture
def source(net, tmp_path):
    save_file(net.state_dict(), tmp_path / "net.safetensors", {"format": "pt", "trained by": "us"})
    return tmp_path / "net.safetensors"


def modelled(source, **options):
    return sk.replacement(sk.assign_keys(sk.extract(source)), **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_the_replaced_filters_change(dtype, net, tmp_path):
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in net.state_dict().items()}
    save_file(state, tmp_path / "net.safetensors", {"a": "b"})
    chosen = modelled(tmp_path / "net.safetensors", min_r2=0.5)
    assert 0 < chosen.replaced.sum() < len(chosen.bank)
    assert sk.write_replaced(tmp_path / "net.safetensors", chosen, tmp_path / "new.safetensors") == ()
    expected = replaced_state(state, chosen)
    assert_same({key: load_file(tmp_path / "new.safetensors")[key] for key in expected}, expected)
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert file.metadata() == {"a": "b"}


def test_every_other_byte_stays(source, tmp_path):
    before = source.read_bytes()
    sk.write_replaced(source, modelled(source, layers=["blocks.0"]), tmp_path / "new.safetensors")
    assert source.read_bytes() == before
    places = changed_bytes(before, (tmp_path / "new.safetensors").read_bytes())
    assert 8 * 49 * 2 < len(places) <= 8 * 49 * 4
    assert max(places) - min(places) < 8 * 49 * 4


def test_what_is_read_back_is_what_was_replaced(source, tmp_path):
    fit = sk.fit(sk.extract(source), "jet1")
    sk.write_replaced(str(source), fit, str(tmp_path / "new.safetensors"))
    found = sk.extract(tmp_path / "new.safetensors")
    for layer, other in zip(found, sk.replacement(fit).filters, strict=True):
        assert (layer.name, layer.depth) == (other.name, other.depth)
        assert torch.equal(layer.kernels, other.kernels)


def test_filters_that_are_kept_keep_their_bits(tmp_path):
    """Also those that are not numbers, whichever of the many."""
    weight = torch.rand(4, 1, 3, 3)
    weight.view(torch.int32)[1, 0, 0, 0] = 0x7FC12345
    save_file({"dw.weight": weight}, tmp_path / "net.safetensors")
    chosen = modelled(tmp_path / "net.safetensors")
    assert chosen.replaced.tolist() == [True, False, True, True]
    sk.write_replaced(tmp_path / "net.safetensors", chosen, tmp_path / "new.safetensors")
    found = load_file(tmp_path / "new.safetensors")["dw.weight"]
    assert torch.equal(found[1].view(torch.int32), weight[1].view(torch.int32))
    assert not torch.equal(found[0], weight[0])


def test_nothing_to_replace_gives_a_plain_copy(source, tmp_path):
    sk.write_replaced(source, modelled(source, min_r2=1), tmp_path / "new.safetensors")
    assert (tmp_path / "new.safetensors").read_bytes() == source.read_bytes()


def test_layers_of_models_may_come_in_another_order(net, source, tmp_path):
    chosen = sk.replacement(sk.assign_keys(sk.extract(net.state_dict())))
    bank = chosen.bank
    shuffled = sk.assign_keys(sk.FilterBank((bank.layers[2], *bank.layers[:2])))
    sk.write_replaced(source, shuffled, tmp_path / "new.safetensors")
    expected = replaced_state(net.state_dict(), chosen)
    assert_same({key: load_file(tmp_path / "new.safetensors")[key] for key in expected}, expected)


def test_the_source_itself_is_refused(source, tmp_path):
    before = source.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(source)
    for path in (source, tmp_path / "link.safetensors", tmp_path / "." / "net.safetensors"):
        with pytest.raises(OutputError, match="is the source itself, which is never changed; name another output"):
            sk.write_replaced(source, modelled(source), path, force=True)
    assert source.read_bytes() == before


def test_an_existing_file_is_replaced_when_asked_for(source, tmp_path):
    target = tmp_path / "new.safetensors"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists already; give --force to replace it, or another name"):
        sk.write_replaced(source, modelled(source), target)
    assert target.read_text() == "mine"
    sk.write_replaced(source, modelled(source), target, force=True)
    assert len(load_file(target)) > 3


def test_models_of_another_network_are_refused(source, tmp_path):
    with pytest.raises(ModelError, match=r"has no depthwise layer 'filters'\); fit what sk.extract gives for it"):
        sk.write_replaced(source, sk.assign_keys(sk.master_keys()), tmp_path / "new.safetensors")


def test_a_filter_too_large_for_its_type_is_refused(tmp_path):
    save_file({"dw.weight": torch.rand(4, 1, 3, 3).half()}, tmp_path / "net.safetensors")
    bank = sk.extract(tmp_path / "net.safetensors")
    large = sk.assign_keys(bank.with_filters([1e6 * bank.layers[0].kernels]))
    with pytest.raises(FilterError, match=r"layer 'dw': a filter with the value \S+ cannot be stored as float16"):
        sk.write_replaced(tmp_path / "net.safetensors", large, tmp_path / "new.safetensors")
    assert names_in(tmp_path) == ["net.safetensors"]


class Interruption(BaseException):
    """Like a keyboard interrupt: no Exception."""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Interruption()])
@pytest.mark.parametrize("where", ["_check_written", "open_source"])
def test_a_write_that_fails_leaves_nothing_behind(source, tmp_path, monkeypatch, error, where):
    before, chosen, opened = source.read_bytes(), modelled(source), open_source(source)

    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(writing, where, fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else Interruption):
        writing.write_copy(opened, chosen, tmp_path / "made" / "new.safetensors")
    assert names_in(tmp_path) == ["net.safetensors"]
    assert source.read_bytes() == before


def test_a_copy_that_does_not_read_back_is_not_kept(source, tmp_path, monkeypatch):
    opened, chosen = open_source(source), modelled(source)
    honest = opened.copying.write
    copying = type(opened.copying)(lambda changes, target: honest(changes[1:], target))
    object.__setattr__(opened, "copying", copying)
    with pytest.raises(CheckpointError, match=r"layer 'blocks\.0' shares its memory with weights"):
        writing.write_copy(opened, chosen, tmp_path / "new.safetensors")
    assert names_in(tmp_path) == ["net.safetensors"]


@pytest.mark.parametrize("name", ["new.pth", "new.onnx", "NEW.PTH", "new.bin"])
def test_a_name_of_another_format_is_refused(name, source, tmp_path):
    with pytest.raises(OutputError, match=r"and the copy has the format of the source, safetensors; name it \*\.saf"):
        sk.write_replaced(source, modelled(source), tmp_path / name, force=True)
    assert names_in(tmp_path) == ["net.safetensors"]


@pytest.mark.parametrize("name", ["new", "new.weights"])
def test_a_name_of_no_format_is_taken(name, source, tmp_path):
    sk.write_replaced(source, modelled(source), tmp_path / name)
    assert sk.extract(tmp_path / name).layers[0].name == "blocks.0"


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_filter_beyond_eight_bits_is_refused_and_not_clipped(dtype, tmp_path):
    save_file({"dw.weight": torch.rand(4, 1, 3, 3).to(dtype)}, tmp_path / "net.safetensors")
    bank = sk.extract(tmp_path / "net.safetensors")
    large = sk.assign_keys(bank.with_filters([1e6 * bank.layers[0].kernels]))
    with pytest.raises(FilterError, match=r"layer 'dw': a filter with the value \S+ cannot be stored as float8"):
        sk.write_replaced(tmp_path / "net.safetensors", large, tmp_path / "new.safetensors")
    assert names_in(tmp_path) == ["net.safetensors"]


def test_scales_of_blocks_are_no_filters(tmp_path):
    scales = torch.ones(4, 1, 3, 3).to(torch.float8_e8m0fnu)
    save_file({"dw.weight": torch.rand(4, 1, 3, 3), "scales.weight": scales}, tmp_path / "net.safetensors")
    (one,) = sk.extract(tmp_path / "net.safetensors").left_out
    assert (one.name, "which are scales of blocks" in one.reason) == ("scales", True)
    sk.write_replaced(
        tmp_path / "net.safetensors", modelled(tmp_path / "net.safetensors"), tmp_path / "new.safetensors"
    )


def test_what_is_only_read_says_so(source, tmp_path):
    opened = open_source(source)
    object.__setattr__(opened, "copying", None)
    object.__setattr__(opened, "only_read", "such files are only read")
    with pytest.raises(OutputError, match=r"net\.safetensors: such files are only read$"):
        writing.check_copy(opened, tmp_path / "new.safetensors")
