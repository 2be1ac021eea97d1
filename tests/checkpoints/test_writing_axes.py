"""Kernels of one and three axes, and those of other convolutions, written back: nothing changes but the kernels."""

import numpy as np
import onnx
import pytest
import torch
from axes_network import network
from onnx import helper, numpy_helper
from onnx_inputs import save
from replaced_weights import assert_same, changed_bytes
from safetensors.torch import load_file, save_file

import scalekeys as sk
from scalekeys.errors import ModelError
from scalekeys.filters import Replacement

AXES = pytest.mark.parametrize("axes", [1, 2, 3])


def others(bank):
    """Other filters for all of a bank but each third."""
    filters = bank.with_filters([1 - 2 * layer.kernels for layer in bank.layers])
    model = np.array(["mine"] * len(bank), dtype=object)
    model[::3] = "keep"
    kept = torch.from_numpy(model == "keep")
    numbers, r2 = torch.ones(len(bank), dtype=torch.int64), torch.ones(len(bank))
    parts = [
        torch.where(kept[part].view(-1, *(1,) * layer.axes), layer.kernels, new.kernels)
        for (layer, part), new in zip(bank.parts(), filters.layers, strict=True)
    ]
    return Replacement(bank, bank.with_filters(parts), model.astype(str), numbers, r2)


def changed_state(net, chosen):
    """Return the state of a network with other filters, by the modules of the network."""
    state = {key: value.clone() for key, value in net.state_dict().items()}
    for layer in chosen.filters.layers:
        module, weight = net.get_submodule(layer.name), state[f"{layer.name}.weight"]
        if layer.channels is None:
            weight[:] = layer.kernels[:, None]
        elif module.transposed:
            of_groups = layer.kernels.unflatten(0, (module.groups, -1, layer.channels[1])).transpose(1, 2)
            weight[:] = of_groups.reshape(weight.shape)
        else:
            weight[:] = layer.kernels.unflatten(0, layer.channels)
    return state


SAVE = {
    "net.pth": torch.save,
    "old.pth": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "net.safetensors": save_file,
}
LOAD = {".pth": lambda path: torch.load(path, weights_only=True), ".safetensors": load_file}


@AXES
@pytest.mark.parametrize("kinds", ["depthwise", "all"])
@pytest.mark.parametrize("name", SAVE)
def test_files_of_weights(name, kinds, axes, tmp_path):
    net = network(axes)
    path, target = tmp_path / name, tmp_path / f"new-{name}"
    SAVE[name](net.state_dict(), path)
    before = path.read_bytes()
    chosen = others(sk.extract(path, kinds=kinds))
    assert len(chosen.bank.layers) >= (2 if kinds == "depthwise" else 6)
    assert sk.write_replaced(path, chosen, target) == ()
    assert_same(LOAD[path.suffix](target), LOAD[path.suffix](path) | changed_state(net, chosen))
    assert path.read_bytes() == before
    again = sk.extract(target, kinds=kinds)
    assert all(torch.equal(new.kernels, old.kernels) for new, old in zip(again, chosen.filters, strict=True))
    assert len(changed_bytes(before, target.read_bytes())) > 0


@AXES
@pytest.mark.parametrize("kinds", ["depthwise", "all"])
def test_a_network_in_memory(kinds, axes, tmp_path):
    net = network(axes)
    chosen = others(sk.extract(net, kinds=kinds))
    sk.write_replaced(net, chosen, tmp_path / "net.safetensors")
    found = load_file(tmp_path / "net.safetensors")
    assert_same(found, found | changed_state(net, chosen))


def graph_of(net):
    """A graph of the convolutions of a network, whose weights stand once as bytes and once as a list of numbers."""
    nodes, stored = [], []
    for at, layer in enumerate(net):
        if not hasattr(layer, "kernel_size"):
            continue
        op, weight = "ConvTranspose" if layer.transposed else "Conv", layer.weight.detach().numpy()
        nodes.append(helper.make_node(op, ["x", f"{at}.weight"], [f"y{at}"], name=f"n{at}", group=layer.groups))
        as_list = helper.make_tensor(f"{at}.weight", onnx.TensorProto.FLOAT, weight.shape, weight.ravel())
        stored.append(as_list if at % 2 else numpy_helper.from_array(weight, f"{at}.weight"))
    ends = [helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, None) for end in ("x", "y0")]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@AXES
@pytest.mark.parametrize("kinds", ["depthwise", "all"])
@pytest.mark.parametrize("external", [False, True])
def test_graphs(external, kinds, axes, tmp_path):
    net = network(axes)
    path = save(graph_of(net), tmp_path)
    if external:
        for tensor in (model := onnx.load(path)).graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
        onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    chosen = others(sk.extract(path, kinds=kinds))
    sk.write_replaced(path, chosen, tmp_path / "new.onnx")
    tensors = onnx.load(tmp_path / "new.onnx").graph.initializer
    found = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in tensors}
    expected = changed_state(net, chosen)
    assert_same(found, {name: expected[name] for name in found})


def test_filters_of_other_kinds_are_not_those_of_a_network(tmp_path):
    torch.save(network(1).state_dict(), tmp_path / "net.pth")
    chosen = others(sk.extract(network(1), kinds="grouped"))
    with pytest.raises(ModelError, match="the filters that were modelled are not those of this network"):
        sk.write_replaced(network(3), chosen, tmp_path / "new.pth")
    assert not (tmp_path / "new.pth").exists()
