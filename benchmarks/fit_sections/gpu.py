"""How fast filters are fitted on a GPU, and what share of its float32 products that is.

Filters are made on the device, batch by batch. The peak is that of a large float32 product without reduced precision,
measured in the same run; the share is that of one product of the filters with 1,008 vectors in the time of their fit,
the unit of the section on speed.
"""

import argparse
import time
from typing import Any

import torch

import scalekeys as sk
from fit_sections.record import Progress, table
from fit_sections.speed import TAPS, VECTORS

HELP = "measure the speed on a GPU, where there is one"
_SIDE = 7
_WARM_UP = 4096
_MODELS = ("ideal8", "jet2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filters", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {}
    device = torch.device("cuda")
    return {"gpu": torch.cuda.get_device_name(device)} | measured(arguments, device)


def show(results: dict[str, Any]) -> None:
    if not results:
        print("No GPU is at hand; nothing was measured.")
        return
    print(f"{results['gpu']}: float32 products at {results['peak_tflops']:.1f} TFLOP/s")
    table("fits", results["fits"])


def measured(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Fit all batches with each model; the peak is measured before and after."""
    peaks = [_peak(device)]
    rows = [_fitted(model, arguments, device) for model in _MODELS]
    peaks.append(_peak(device))
    peak = max(peaks)
    for row in rows:
        operations = 2.0 * TAPS * VECTORS * row["filters_per_s"]
        row["share_of_peak"] = operations / peak
        row["in_products_at_peak"] = peak / operations
    return {"peak_tflops": peak / 1e12, "fits": rows}


def _fitted(model: str, arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    draw = torch.Generator(device).manual_seed(arguments.seed)
    sk.fit(torch.randn(_WARM_UP, _SIDE, _SIDE, generator=draw, device=device), model)
    seconds, done, progress = 0.0, 0, Progress(model, arguments.filters)
    while done < arguments.filters:
        count = min(arguments.batch, arguments.filters - done)
        filters = torch.randn(count, _SIDE, _SIDE, generator=draw, device=device)
        _wait(device)
        start = time.perf_counter()
        sk.fit(filters, model)
        _wait(device)
        seconds += time.perf_counter() - start
        done += count
        progress.advance(count)
    return {"model": model, "filters": done, "s": seconds, "filters_per_s": round(done / seconds)}


def _peak(device: torch.device, repeats: int = 5) -> float:
    """Operations per second of the best of several large float32 products."""
    side = 8192 if device.type == "cuda" else 1024
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    left, right = torch.randn(2, side, side, device=device)
    best = float("inf")
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        left @ right
        _wait(device)
        best = min(best, time.perf_counter() - start)
    torch.set_float32_matmul_precision(before)
    return 2.0 * side**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
