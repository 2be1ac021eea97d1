"""Models of the filters of one network in the place of those of another."""

import pytest
import torch

import scalekeys as sk
from scalekeys.filters.correspondence import corresponding_names


def bank(model="net", scale=1.0, **layers):
    named = {name.replace("_", "."): kernels for name, kernels in layers.items()}
    return sk.FilterBank(tuple(sk.LayerFilters(name, scale * one) for name, one in named.items()), model=model)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("names", "others", "expected"),
    [
        (["a", "b"], ["b", "a"], {"a": "a", "b": "b"}),
        (["encoder.a", "encoder.b", "decoder.a"], ["a", "b"], {"encoder.a": "a", "encoder.b": "b"}),
        (["a", "b"], ["net.a", "net.b", "head"], {"a": "net.a", "b": "net.b"}),
        (["x.a", "b"], ["y.a", "b"], {"b": "b"}),
        (["conv1"], ["1"], {}),
    ],
)
def test_names_correspond_but_for_a_prefix(names, others, expected):
    assert corresponding_names(names, others) == expected


def test_what_a_filter_chooses_stands_in_its_channel_of_the_other_network():
    source = bank(a=random(6, 7, 7), b=random(9, 5, 5, seed=1))
    other = bank("other", encoder_a=random(6, 7, 7, seed=2), encoder_b=random(9, 5, 5, seed=3), head=random(4, 3, 3))
    chosen = sk.replacement(sk.assign_keys(source), into=other, keep="head")
    models = {layer.name: layer.kernels for layer in sk.assign_keys(source).kernels()}
    after = {layer.name: layer.kernels for layer in chosen.filters}
    assert chosen.bank is other
    for name in "ab":
        assert torch.equal(after[f"encoder.{name}"], models[name])
    assert torch.equal(after["head"], other.layers[2].kernels)
    assert chosen.replaced.tolist() == [True] * 15 + [False] * 4
    assert chosen.numbers.tolist() == [3] * 15 + [9] * 4
    assert torch.equal(chosen.r2[:15], sk.assign_keys(source).r2)


def test_filters_that_choose_nothing_leave_their_counterparts():
    first = random(4, 7, 7)
    first[1] = 0
    first[2] *= 1e-30
    other = bank("other", a=random(4, 7, 7, seed=2))
    fit = sk.fit(bank(a=first), "jet2")
    chosen = sk.replacement(fit, into=other)
    assert chosen.model.tolist() == ["jet2", "constant", "keep", "jet2"]
    assert torch.equal(chosen.filters.layers[0].kernels[2], other.layers[0].kernels[2])
    assert not chosen.filters.layers[0].kernels[1].any()
    few = sk.replacement(fit, into=other, min_r2=float(fit.r2[[0, 3]].max()))
    assert int(few.replaced.sum()) == 2  # the best one and the constant


@pytest.mark.parametrize(
    ("other", "missing"),
    [
        ({"a": random(6, 7, 7), "c": random(6, 7, 7)}, "'c' of 6 filters of 7x7"),
        ({"a": random(5, 7, 7)}, "'a' of 5 filters of 7x7"),
        ({"a": random(6, 5, 5)}, "'a' of 6 filters of 5x5"),
    ],
)
def test_layers_without_a_counterpart_are_refused_by_name(other, missing):
    assigned = sk.assign_keys(bank("chooser", a=random(6, 7, 7)))
    with pytest.raises(sk.FilterError, match=f"^chooser: has no depthwise layer {missing}, as other has; keep that"):
        sk.replacement(assigned, into=bank("other", **other))


def test_other_parts_of_a_network_stay_unless_they_are_named():
    source = bank(a=random(6, 7, 7))
    other = bank("other", encoder_a=random(6, 7, 7, seed=2), decoder_0=random(4, 7, 7, seed=3))
    chosen = sk.replacement(sk.assign_keys(source), into=other)
    assert chosen.replaced.tolist() == [True] * 6 + [False] * 4
    with pytest.raises(sk.FilterError, match=r"has no depthwise layer 'decoder\.0' of 4 filters"):
        sk.replacement(sk.assign_keys(source), into=other, layers=["decoder*"])
