"""What a check-up returns: its order, its plain form, its sources, and what it fits."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from planted import bank, polynomials, smooth, white
from safetensors.torch import save_file
from torch import nn

import scalekeys as sk
from scalekeys.checkpoints import open_source
from scalekeys.checkup import evidence as module
from scalekeys.checkup.api import examined
from scalekeys.checkup.evidence import Evidence
from scalekeys.checkup.naming import Named, Storage


@pytest.fixture(scope="module")
def ill():
    """A network of which much is wrong."""
    dead = smooth()
    dead[:4] = 0
    faint = smooth(seed=2)
    faint[:2] /= 1000
    return sk.check(bank(dead, faint, nn.functional.pad(smooth(seed=3), (2, 2, 2, 2)), white(seed=4)))


def test_what_is_certain_and_concerns_the_most_filters_comes_first(ill):
    assert [one.name for one in ill.advice] == ["dead-filters", "eight-bits", "too-large", "not-formed"]
    assert [one.certainty for one in ill.advice] == ["certain", "certain", "bounded", "hint"]


def test_everything_is_plain_for_json(ill):
    plain = json.loads(json.dumps(ill.to_dict()))
    assert plain["filters"] == 128
    assert plain["advice"][0]["places"][0] == {
        "layer": "a",
        "size": "5x5",
        "filters": 4,
        "of": 32,
        "value": 0.125,
        "control": None,
        "channels": [0, 1, 2, 3],
    }
    assert set(plain) == {
        "model",
        "source",
        "verdict",
        "layers",
        "filters",
        "concerned",
        "advice",
        "audits",
        "skipped",
    }


def test_sentences_end_and_say_what_is_compared(ill):
    for advice in ill.advice:
        for sentence in (advice.what, advice.evidence, advice.action, advice.expect):
            assert sentence[0].isupper() or sentence[0].isdigit()
            assert sentence.endswith(".")
            assert " 1 layers" not in sentence
        assert any(word in advice.evidence.lower() for word in ("noise", "usual", "step for each"))


def test_places_stand_in_the_order_of_how_many_filters_they_concern():
    few, many = smooth(), smooth(seed=1)
    few[:2], many[:9] = 0, 0
    (advice,) = sk.check(bank(few, many)).advice
    assert [(place.layer, place.filters) for place in advice.places] == [("b", 9), ("a", 2)]


def test_a_command_names_the_source(tmp_path):
    path = tmp_path / "a net.pth"
    torch.save({"dw.weight": nn.functional.pad(smooth(), (2, 2, 2, 2))[:, None]}, path)
    (advice,) = sk.check(path).advice
    assert advice.command == f"scalekeys crop '{path}' -o cropped.pth"


def test_commands_name_what_they_can_open():
    assert Named("https://server/net.pth").cropped == "NETWORK"
    exported = Named("net.onnx", storage=Storage(is_graph=True))
    assert (exported.cropped, exported.running(2, None)) == ("NETWORK", "NETWORK --size PIXELS")
    assert Named("net.pth").cropped == "net.pth"
    assert Named("https://server/net.pth").running(2, (64, 64)) == "NETWORK --size 64"
    computed = Named("net.pth", storage=Storage(is_plain=False))
    assert computed.cropped == "NETWORK --checkpoint net.pth"
    assert Storage.at(Path("no-such-file.pth"), None) == Storage(can_change=False)


def quantised(weight):
    return torch.quantize_per_tensor(weight, 0.01, 0, torch.qint8)


def normed(_weight):
    network = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, groups=8, bias=False))
    return {f"dw.{name}": value for name, value in network.state_dict().items()}


def in_folder(state, path):
    path.mkdir()
    save_file(state, path / "model.safetensors")


def scripted(_state, path):
    torch.jit.script(nn.Conv2d(8, 8, 3, groups=8)).save(path)


STORED = {
    "net.pth": (torch.save, True),
    "no_suffix": (torch.save, True),
    "net.onnx": (torch.save, True),
    "net.pth.tar": (torch.save, True),
    "folder": (in_folder, True),
    "sparse.pth": (lambda state, path: torch.save({"dw.weight": state["dw.weight"].to_sparse()}, path), False),
    "quantised.pth": (lambda state, path: torch.save({"dw.weight": quantised(state["dw.weight"])}, path), False),
    "normed.pth": (lambda state, path: torch.save(normed(state["dw.weight"]), path), False),
    "script.pt": (scripted, False),
    "net.npz": (lambda state, path: np.savez(path, **{key: value.numpy() for key, value in state.items()}), False),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", STORED)
def test_a_command_that_changes_filters_names_a_file_only_where_that_works(name, tmp_path):
    write, can_change = STORED[name]
    source = tmp_path / name
    write({"dw.weight": torch.rand(8, 1, 3, 3)}, source)
    opened = open_source(source)
    named, bank = Named(str(source), storage=Storage.of(opened)), opened.bank()
    assert named.stored == (str(source) if can_change else "WEIGHTS")
    copied = sk.model_filters(bank, "jet1")
    target = tmp_path / f"copies{named.storage.suffix if can_change else source.suffix}"
    if can_change:
        sk.write_replaced(source, copied, target)
        assert sk.extract(target).layers[0].name == bank.layers[0].name
    else:
        with pytest.raises(sk.ScaleKeysError):
            sk.write_replaced(source, copied, target)


def test_a_module_and_its_bank_give_the_same():
    layer = nn.Conv2d(32, 32, 5, groups=32)
    with torch.no_grad():
        layer.weight.copy_(white()[:, None])
    network = nn.Sequential(layer)
    whole, alone = sk.check(network), sk.check(sk.extract(network))
    assert whole.advice == alone.advice
    assert {*whole.audits} - {*alone.audits} == {"small-variances"}
    assert [one.name for one in sk.check(network).advice] == ["not-formed"]


@pytest.mark.parametrize("source", [nn.Sequential(nn.Conv2d(3, 8, 3)), "no-such-file.pth"], ids=["ordinary", "no file"])
def test_what_cannot_be_read_is_refused(source):
    with pytest.raises(sk.CheckpointError):
        sk.check(source)


def test_noise_is_fitted_only_where_an_audit_suspects_something():
    fit = sk.fit(bank(smooth(), smooth(seed=1)))
    with mock.patch.object(module, "fit") as fitting:
        assert examined(Evidence(Named(), fit)).advice == ()
    fitting.assert_not_called()


def test_a_fit_of_noise_that_is_known_is_not_made_again():
    fit = sk.fit(bank(polynomials()))
    known = sk.fit(sk.matched_noise_like(fit.bank, seed=0))
    with mock.patch.object(module, "fit") as fitting:
        given = examined(Evidence(Named(), fit, known=known))
    fitting.assert_not_called()
    assert given == examined(Evidence(Named(), fit))
    assert "too-small" in [one.name for one in given.advice]


def test_commands_are_for_depthwise_layers_alone():
    kernels = smooth()
    kernels[:9] = 0
    layer = sk.LayerFilters("conv", kernels, kind="ordinary", channels=(32, 1))
    found = sk.check(sk.FilterBank((layer,)))
    assert [(one.name, one.command) for one in found.advice] == [("dead-filters", None)]
    assert found.skipped[-1].startswith("commands change depthwise layers alone")
    assert found.source == "NETWORK --kinds ordinary"
    both = sk.check(sk.FilterBank((layer, sk.LayerFilters("dw", kernels))))
    assert both.source == "NETWORK --kinds all"
