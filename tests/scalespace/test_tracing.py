"""Compiled, exported and ONNX versions of the kernels against the eager ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.special import ive
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from scalekeys.scalespace import IDEAL8
from tolerances import DEVICES, TOLERANCES, assert_close

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),  # torch's own, and those of its exporter
    pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning"),
]

VARIANCES = torch.tensor([0.0, 1e-3, 0.3, 2.0, 9.0])
SCALES = torch.tensor([[0.0, 0.0], [1.0, 0.7], [0.5, 2.0], [0.0, 3.0]])
STRENGTHS = torch.tensor([0.0, 0.5, 0.2, 1.0])


@dataclass(frozen=True)
class Case:
    """A function of the package to trace, with its inputs in float32."""

    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]

    def of(self, package: ModuleType) -> Callable[..., Tensor]:
        return lambda *inputs: self.function(package, *inputs)

    def module(self, package: ModuleType) -> torch.nn.Module:
        module = torch.nn.Module()
        module.forward = self.of(package)
        return module.eval()


# Without a bound, 1000 is assumed while tracing: a long recurrence.
LONG = {
    "discrete_gaussian": Case(lambda sk, t: sk.discrete_gaussian(t, 3), (VARIANCES,)),
    "dx+": Case(lambda sk, sigma: sk.template("dx+", sigma, (5, 7)), (SCALES,)),
    "sharpen": Case(lambda sk, sigma, alpha: sk.template("sharpen", sigma, 5, alpha=alpha), (SCALES, STRENGTHS)),
}
SHORT = {
    "discrete_gaussian": Case(lambda sk, t: sk.discrete_gaussian(t, 3, max_variance=9.0), (VARIANCES,)),
    "dx+": Case(lambda sk, p: sk.template_plan("dx+", (5, 7))(p, 9.0), (SCALES.square(),)),
    "sharpen": Case(lambda sk, p: sk.template_plan("sharpen", (5, 5))(p, 9.0), (SCALES,)),
}
long = pytest.mark.parametrize("case", LONG.values(), ids=list(LONG))
short = pytest.mark.parametrize("case", SHORT.values(), ids=list(SHORT))


@pytest.fixture(scope="module")
def package(package_without_shape_checks) -> Iterator[ModuleType]:
    """The layer as a user imports it, since a tracer cannot see through the run-time checks of the tests."""
    with package_without_shape_checks("scalekeys.scalespace") as package:
        yield package


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


@long
def test_traced_without_a_bound_it_agrees_with_eager(package, case):
    _compare_compiled(case.of(package), case.inputs, "aot_eager")


@short
def test_traced_with_a_bound_its_gradients_agree_with_eager(package, case):
    function, inputs = case.of(package), tuple(value.double().requires_grad_() for value in case.inputs)
    eager, traced = function(*inputs), torch.compile(function, fullgraph=True, backend="aot_eager")(*inputs)
    direction = torch.linspace(-1, 1, eager.numel(), dtype=eager.dtype).reshape(eager.shape)
    expected, actual = (torch.autograd.grad(value, inputs, direction) for value in (eager, traced))
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, absolute=30 * TOLERANCES[one.dtype].absolute)  # sums over a window


@short
@pytest.mark.parametrize("device", DEVICES)
def test_compiled_with_a_bound_it_agrees_with_eager(package, case, device):
    _compare_compiled(case.of(package), tuple(value.to(device) for value in case.inputs), "inductor")


@pytest.mark.slow
@long
@pytest.mark.parametrize("device", DEVICES)
def test_compiled_without_a_bound_it_agrees_with_eager(package, case, device):
    _compare_compiled(case.of(package), tuple(value.to(device) for value in case.inputs), "inductor")


def _compare_compiled(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], backend: str) -> None:
    assert_close(torch.compile(function, fullgraph=True, backend=backend)(*inputs), function(*inputs))


@pytest.mark.parametrize(
    ("case", "strict"),
    [*((case, False) for case in LONG.values()), *((case, True) for case in SHORT.values())],
    ids=[*LONG, *(f"bounded-strict-{name}" for name in SHORT)],
)
def test_exported_it_agrees_with_eager_for_any_number_of_kernels(package, case, strict):
    batch = torch.export.Dim("batch", min=2)
    dynamic = (tuple({0: batch} for _ in case.inputs),)
    program = torch.export.export(case.module(package), case.inputs, dynamic_shapes=dynamic, strict=strict)
    for start in (0, 1):
        inputs = tuple(value[start:] for value in case.inputs)
        assert_close(program.module()(*inputs), case.of(package)(*inputs))


@pytest.mark.parametrize(
    ("case", "optimize"),
    [(LONG["discrete_gaussian"], False), *((case, True) for case in SHORT.values())],  # all templates are made of it
    ids=["discrete_gaussian", *(f"bounded-optimized-{name}" for name in SHORT)],
)
def test_in_onnx_it_agrees_with_eager(package, case, optimize, tmp_path):
    path = tmp_path / "kernel.onnx"
    torch.onnx.export(case.module(package), case.inputs, dynamo=True, optimize=optimize, verbose=False).save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {entry.name: value.numpy() for entry, value in zip(session.get_inputs(), case.inputs, strict=True)}
    assert_close(torch.from_numpy(session.run(None, feed)[0]), case.of(package)(*case.inputs))


def test_the_bound_assumed_while_tracing_is_enough_for_its_largest_variance(package):
    t = torch.tensor(1000.0, dtype=torch.float64)
    traced = torch.compile(lambda t: package.discrete_gaussian(t, 1), fullgraph=True, backend="eager")(t)
    assert_close(traced, ive([1, 0, 1], 1000.0), absolute=0)


def test_exporting_first_leaves_later_eager_calls_alone(package):
    size = (3, 13)  # of no other test, so that nothing is cached yet
    torch.export.export(Case(lambda sk, sigma: sk.template("dx-", sigma, size), ()).module(package), (SCALES,))
    kernels = package.template("dx-", SCALES, size)
    assert type(kernels) is Tensor
    assert_close(kernels[0], np.eye(13)[6:7] * [[0], [1], [0]] - np.eye(13)[7:8] * [[0], [1], [0]])


@pytest.mark.parametrize("name", IDEAL8)
def test_plans_made_among_fake_or_meta_tensors_serve_real_ones(package, name):
    plan = package.template_plan
    size = (11, 15)  # of no other test
    with FakeTensorMode():
        plan(name, size)(torch.rand(2, 2), 1.0)
    with torch.device("meta"):
        assert plan(name, size)(torch.rand(2, 2), 1.0).shape == (2, 1, 11, 15)
    kernels = plan(name, size)(torch.ones(2, 2), 1.0)
    assert type(kernels) is Tensor
    assert torch.isfinite(kernels).all()
