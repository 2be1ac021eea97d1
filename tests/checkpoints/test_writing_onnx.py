"""ONNX models with other filters: exported ones that run, and graphs by hand."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from replaced_weights import assert_same, changed_bytes, names_in
from small_network import small_network

import scalekeys as sk
from scalekeys.errors import CheckpointError, OutputError


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    net, path = small_network(), tmp_path_factory.mktemp("exported") / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter uses what torch itself calls deprecated
        options = {"dynamo": True, "verbose": False, "external_data": False, "optimize": False}
        torch.onnx.export(net, (torch.zeros(1, 3, 64, 64),), path, **options)
    return net, path


def answer(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]


def values(path):
    """Return every initializer and constant, and the model without their numbers."""
    model = onnx.load(path)
    constants = [node for node in model.graph.node if node.op_type == "Constant" and node.attribute[0].HasField("t")]
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    tensors |= {node.output[0]: node.attribute[0].t for node in constants}
    found = {name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for name, tensor in tensors.items()}
    for tensor in tensors.values():
        for field in ("raw_data", "float_data", "double_data", "int32_data", "external_data", "data_location"):
            tensor.ClearField(field)
    return found, model.SerializeToString()


def expected_values(path, chosen):
    """Return the values of a model with the replaced filters in them."""
    expected, _ = values(path)
    for layer in chosen.filters:
        key = layer.name if layer.name in expected else f"{layer.name}.weight"
        expected[key] = layer.kernels[:, None].to(expected[key].dtype)
    return expected


def replace(source, target, **options):
    chosen = sk.replacement(sk.assign_keys(sk.extract(source)), **options)
    assert sk.write_replaced(source, chosen, target) == ()
    return chosen


def test_an_exported_model_runs_with_the_replaced_filters(exported, tmp_path):
    """The graph computes what the network computes whose filters were replaced in memory."""
    net, path = exported
    replace(path, tmp_path / "new.onnx")
    onnx.checker.check_model(str(tmp_path / "new.onnx"), full_check=True)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network = sk.replace(net, sk.assign_keys(sk.extract(net)))
    with torch.no_grad():
        np.testing.assert_allclose(answer(tmp_path / "new.onnx", images), network(images), rtol=0, atol=1e-5)
    assert np.abs(answer(path, images) - answer(tmp_path / "new.onnx", images)).max() > 1e-3


def test_only_the_replaced_filters_change(exported, tmp_path):
    _, path = exported
    before = path.read_bytes()
    chosen = replace(path, tmp_path / "new.onnx")
    assert path.read_bytes() == before
    found, rest = values(tmp_path / "new.onnx")
    assert_same(found, expected_values(path, chosen))
    assert rest == values(path)[1]
    assert len(changed_bytes(before, (tmp_path / "new.onnx").read_bytes())) <= 4 * (8 * 49 + 16 * 9 + 16 * 5)
    for layer, other in zip(sk.extract(tmp_path / "new.onnx"), chosen.filters, strict=True):
        assert torch.equal(layer.kernels, other.kernels)


def test_filters_that_are_kept_keep_their_bits(exported, tmp_path):
    _, path = exported
    chosen = replace(path, tmp_path / "new.onnx", min_r2=0.5)
    assert 0 < chosen.replaced.sum() < len(chosen.bank)
    assert_same(values(tmp_path / "new.onnx")[0], expected_values(path, chosen))


def as_external(path, folder, **options):
    folder.mkdir()
    onnx.save(onnx.load(path), folder / "net.onnx", save_as_external_data=True, **{"size_threshold": 0, **options})
    return folder / "net.onnx"


def test_values_in_another_file_are_copied_under_the_name_of_the_copy(exported, tmp_path):
    _, path = exported
    source = as_external(path, tmp_path / "split", location="weights.bin", size_threshold=64)
    before = (tmp_path / "split" / "weights.bin").read_bytes()
    chosen = replace(source, tmp_path / "split" / "new.onnx")
    assert names_in(tmp_path / "split") == ["net.onnx", "new.onnx", "new.onnx.data", "weights.bin"]
    assert (tmp_path / "split" / "weights.bin").read_bytes() == before
    assert_same(values(tmp_path / "split" / "new.onnx")[0], expected_values(source, chosen))
    changed = changed_bytes(before, (tmp_path / "split" / "new.onnx.data").read_bytes())
    assert len(changed) <= 4 * (8 * 49 + 16 * 9 + 16 * 5)
    images = torch.rand(1, 3, 64, 64)
    (tmp_path / "split" / "weights.bin").unlink()
    assert answer(tmp_path / "split" / "new.onnx", images).shape == (1, 5)


def test_values_in_many_files(exported, tmp_path):
    _, path = exported
    source = as_external(path, tmp_path / "split", all_tensors_to_one_file=False)
    count = len(names_in(tmp_path / "split")) - 1
    assert count > 5
    chosen = replace(source, tmp_path / "new" / "other.onnx")
    assert names_in(tmp_path / "new") == ["other.onnx", *sorted(f"other.onnx.data.{i}" for i in range(1, count + 1))]
    assert_same(values(tmp_path / "new" / "other.onnx")[0], expected_values(source, chosen))


def test_values_keep_their_file_name_where_the_model_keeps_its_own(exported, tmp_path):
    _, path = exported
    source = as_external(path, tmp_path / "split", location="weights.bin")
    chosen = replace(source, tmp_path / "new" / "net.onnx")
    assert names_in(tmp_path / "new") == ["net.onnx", "weights.bin"]
    assert_same(values(tmp_path / "new" / "net.onnx")[0], expected_values(source, chosen))


def test_the_values_of_the_source_are_never_overwritten(exported, tmp_path):
    _, path = exported
    source = as_external(path, tmp_path / "split", location="new.onnx.data")
    before = (tmp_path / "split" / "new.onnx.data").read_bytes()
    modelled = sk.assign_keys(sk.extract(source))
    for name in ("new.onnx", "new.onnx.data"):
        with pytest.raises(OutputError, match=r"new\.onnx\.data: is the source itself, which is never changed"):
            sk.write_replaced(source, modelled, tmp_path / "split" / name, force=True)
    assert names_in(tmp_path / "split") == ["net.onnx", "new.onnx.data"]
    assert (tmp_path / "split" / "new.onnx.data").read_bytes() == before


def test_values_in_a_file_that_exists_already(exported, tmp_path):
    _, path = exported
    source = as_external(path, tmp_path / "split", location="weights.bin")
    (tmp_path / "split" / "new.onnx.data").write_text("mine")
    with pytest.raises(OutputError, match=r"new\.onnx\.data: exists already; give --force"):
        replace(source, tmp_path / "split" / "new.onnx")
    assert names_in(tmp_path / "split") == ["net.onnx", "new.onnx.data", "weights.bin"]
    assert (tmp_path / "split" / "new.onnx.data").read_text() == "mine"


def test_missing_values_leave_nothing_behind(exported, tmp_path):
    _, path = exported
    source = as_external(path, tmp_path / "split", all_tensors_to_one_file=False)
    chosen = sk.assign_keys(sk.extract(source))
    (tmp_path / "split" / "head.weight").unlink()
    with pytest.raises(CheckpointError, match=r"its external data 'head\.weight' is missing; fetch it again"):
        sk.write_replaced(source, chosen, tmp_path / "new" / "new.onnx")
    assert not (tmp_path / "new").exists()


WEIGHT = np.random.default_rng(0).normal(size=(4, 1, 3, 5))
KINDS = {
    "float32": (TensorProto.FLOAT, np.float32),
    "float64": (TensorProto.DOUBLE, np.float64),
    "float16": (TensorProto.FLOAT16, np.float16),
    "bfloat16": (TensorProto.BFLOAT16, None),
    "float8_e5m2": (TensorProto.FLOAT8E5M2, None),
}


def convolution(tensor, *, constant=False):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", group=4)]
    if constant:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    info = [helper.make_tensor_value_info(end, TensorProto.FLOAT, None) for end in "xy"]
    stored = [] if constant else [tensor]
    model = helper.make_model(helper.make_graph(nodes, "graph", info[:1], info[1:], stored), producer_name="a test")
    helper.set_model_props(model, {"license": "MIT"})
    return model


def stored_as(kind, *, raw):
    """Return the weight as a tensor of some type, as bytes or number by number."""
    number, _ = KINDS[kind]
    rounded = torch.from_numpy(WEIGHT).to(getattr(torch, kind))
    tensor = TensorProto(name="w", dims=WEIGHT.shape, data_type=number)
    if raw:
        tensor.raw_data = rounded.view(torch.uint8).numpy().tobytes()
    elif kind in ("float32", "float64"):
        (tensor.float_data if kind == "float32" else tensor.double_data).extend(rounded.flatten().tolist())
    else:
        bits = {2: torch.int16, 1: torch.uint8}[rounded.itemsize]
        tensor.int32_data.extend((rounded.view(bits).flatten().int() & 0xFFFF).tolist())
    return tensor


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("constant", [True, False])
def test_types_and_fields(kind, raw, constant, tmp_path):
    source, target = tmp_path / "net.onnx", tmp_path / "new.onnx"
    onnx.save(convolution(stored_as(kind, raw=raw), constant=constant), source)
    chosen = replace(source, target, min_r2=0.3)
    assert 0 < chosen.replaced.sum() < 4
    dtype = getattr(torch, kind)
    expected = torch.where(
        chosen.replaced[:, None, None],
        chosen.filters.layers[0].kernels.to(dtype).double(),
        torch.from_numpy(WEIGHT)[:, 0],
    ).to(dtype)
    (layer,) = sk.extract(target)
    assert torch.equal(layer.kernels, expected.to(layer.kernels.dtype))
    before, after = (onnx.load(path) for path in (source, target))
    (old,), (new,) = (list(_tensors(model)) for model in (before, after))
    assert new.HasField("raw_data") == raw
    for tensor in (old, new):
        for field in ("raw_data", "float_data", "double_data", "int32_data"):
            tensor.ClearField(field)
    assert before == after


def _tensors(model):
    yield from model.graph.initializer
    yield from (node.attribute[0].t for node in model.graph.node if node.op_type == "Constant")


def test_values_that_two_tensors_share_are_not_changed(tmp_path):
    model = convolution(stored_as("float32", raw=True))
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    model = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    twin = model.graph.initializer.add()
    twin.CopyFrom(model.graph.initializer[0])
    twin.name = "other"
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(CheckpointError, match=r"layer 'w' shares its values in 'net\.data' with another tensor; keep"):
        replace(tmp_path / "net.onnx", tmp_path / "new.onnx")
