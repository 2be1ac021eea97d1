"""What large kernels cost: training steps and inference of a ConvNeXt whose depthwise layers are scale-space layers.

    OMP_NUM_THREADS=1 python benchmarks/scale_space_layers.py --both

For each side of the kernels, networks take turns on one thread: with plain convolutions, with a copy of them as a
control, and with scale-space layers (eight idealized receptive fields in turn; jets of order 2; outer products alone),
beside the network of plain 7 x 7 convolutions. Figures are medians and quartiles of the ratio of each time to that of
the plain network of the same side in the same turn, and to that of plain 7 x 7.

- step: forward, backward and AdamW in PyTorch, channels last;
- eager: forward in PyTorch without gradients;
- onnxruntime: forward of the exported network on one image.

All are processor times, since other work on the machine disturbs them less than wall time.

Results are printed and saved in ``results/scale_space_layers.json``, each side by itself.
"""

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import nn
from torch.nn import functional as F

import scalekeys as sk
from fit_sections.record import RESULTS, Progress, machine, save, table, versions
from surgery_sections.convnext import convnext

_WIDTHS, _CLASSES = (96, 192), 10
_PLAIN, _BASE = "plain", "plain 7"
_LAYERS: Mapping[str, Mapping[str, Any]] = {
    "ideal8": {"derivatives": "ideal"},
    "jet2": {"derivatives": "jet2"},
    "dx dy smooth": {"derivatives": ["dx", "dy", "smooth"]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[7, 15, 31])
    parser.add_argument("--maps", type=int, default=16, help="side of the maps of the first stage; the second has half")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--depths", type=int, nargs=2, default=[2, 4], help="blocks of both stages")
    parser.add_argument("--both", action="store_true", help="time the execution that the layers do not choose as well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", default=list(_PARTS), choices=list(_PARTS))
    parser.add_argument("--output", type=Path, default=RESULTS.with_name("scale_space_layers.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    options = {name: value for name, value in vars(arguments).items() if name not in ("output", "parts")}
    header = {"machine": machine(), "versions": versions(), "options": options}
    for part in arguments.parts:
        progress = Progress(part, len(arguments.sides))
        for side in arguments.sides:
            rows = _rows(_PARTS[part], side, arguments)
            section = f"{part}, {side}x{side}, maps of {arguments.maps}"
            save(section, header | {"rows": rows}, arguments.output)
            progress.advance(1)
            table(f"{section}, {arguments.batch} images", rows)


def _rows(
    make: Callable[[nn.Module, torch.Tensor], Callable[[], float]], side: int, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Let all networks of one side take turns."""
    images = torch.randn(arguments.batch, 3, arguments.maps, arguments.maps)
    images = images.contiguous(memory_format=torch.channels_last)
    runs = {name: make(network, images) for name, network in _networks(side, arguments).items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(arguments.repeats + 1):
        for name, run in runs.items():
            took = run()
            if turn:
                times[name].append(took)
    rows = []
    for name, spent in times.items():
        row = {"side": side, "layers": name, "ms": 1e3 * statistics.median(spent)}
        for beside, label in ((_PLAIN, "to plain"), (_BASE, "to plain 7")):
            low, middle, high = _quartiles([own / other for own, other in zip(spent, times[beside], strict=True)])
            row |= {label: middle, f"{label}, quartiles": f"{low:.2f} to {high:.2f}"}
        rows.append(row)
    return rows


def _quartiles(ratios: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, middle, high


def _networks(side: int, options: argparse.Namespace) -> dict[str, nn.Module]:
    """Build the networks of one side, and plain 7 x 7."""
    plain = _with(partial(_plain, side=side), options)
    networks = {_BASE: _with(partial(_plain, side=7), options), _PLAIN: plain, "control": copy.deepcopy(plain)}
    for name, own in _LAYERS.items():
        networks[name] = _with(partial(sk.nn.ScaleSpaceConv2d.in_place_of, kernel_size=side, **own), options)
        if options.both:
            networks[f"{name}, not chosen"] = other = copy.deepcopy(networks[name])
            for layer in other.modules():
                if isinstance(layer, sk.nn.ScaleSpaceConv2d):
                    layer.is_separable = not layer.is_separable
    return networks


def _plain(layer: nn.Conv2d, side: int) -> nn.Module:
    return nn.Conv2d(layer.in_channels, layer.in_channels, side, padding="same", groups=layer.groups)


def _with(made: Callable[[nn.Conv2d], nn.Module], options: argparse.Namespace) -> nn.Module:
    """Build the network with other depthwise layers."""
    network = convnext(options.depths, _WIDTHS, 1, seed=options.seed, classes=_CLASSES)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            network.set_submodule(name, made(layer))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _training(network: nn.Module, images: torch.Tensor) -> Callable[[], float]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    labels = torch.arange(len(images)) % _CLASSES

    def step() -> float:
        start = time.process_time()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - start

    return step


def _eager(network: nn.Module, images: torch.Tensor) -> Callable[[], float]:
    network.eval()

    @torch.inference_mode()
    def forward() -> float:
        start = time.process_time()
        network(images)
        return time.process_time() - start

    return forward


def _exported(network: nn.Module, images: torch.Tensor) -> Callable[[], float]:
    one = images[:1].contiguous()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network.eval(), (one,), path, dynamo=True, verbose=False, external_data=False)
        session = onnxruntime.InferenceSession(path, options)
    given = {session.get_inputs()[0].name: one.numpy()}
    difference = abs(session.run(None, given)[0] - network(one).detach().numpy()).max()
    if difference > 1e-3:
        raise RuntimeError(f"onnxruntime differs by {difference:.1e}")

    def forward() -> float:
        start = time.process_time()
        for _ in range(5):
            session.run(None, given)
        return (time.process_time() - start) / 5

    return forward


_PARTS = {"step": _training, "eager": _eager, "onnxruntime": _exported}

if __name__ == "__main__":
    main()
