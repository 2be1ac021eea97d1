"""Checkpoints, tables and engines for the tests of the atlas."""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.atlas.layout import Layout

SHAPES = ((6, 7, 7), (8, 3, 3), (4, 5, 5))


def network(seed: int) -> dict[str, torch.Tensor]:
    """Random weights of a small network."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        f"blocks.{number}.dw.weight": torch.randn(channels, 1, rows, cols, generator=generator)
        for number, (channels, rows, cols) in enumerate(SHAPES)
    }
    return weights | {"fc.weight": torch.randn(10, 4, generator=generator)}


def flat_network(value: float) -> dict[str, torch.Tensor]:
    """Weights of a network whose filters are constant, and quick to analyse."""
    return {name: torch.full_like(weight, value) for name, weight in network(0).items()}


def tiny_network(value: float) -> dict[str, torch.Tensor]:
    """Weights of a network of two constant filters."""
    return {"dw.weight": torch.full((2, 1, 3, 3), float(value))}


def checkpoints(folder: Path, count: int) -> list[Path]:
    """Save so many networks of constant filters."""
    paths = [folder / f"net{number}.safetensors" for number in range(count)]
    for number, path in enumerate(paths):
        save_file(flat_network(number), path)
    return paths


def tables(folder: Path) -> dict[str, pa.Table]:
    """All that an atlas says, in an order of its own."""
    layout = Layout(folder)
    filters = {path.name: pq.read_table(path) for path in sorted(layout.filters.iterdir())}
    return filters | {"networks": pq.read_table(layout.networks), "failures": pq.read_table(layout.failures)}


def assert_same(folder: Path, other: Path) -> None:
    """Compare the tables of two atlases bit by bit."""
    mine, theirs = tables(folder), tables(other)
    assert sorted(mine) == sorted(theirs)
    for name, table in mine.items():
        assert table.equals(theirs[name], check_metadata=True), name


def undisturbed(sources, folder: Path) -> Path:
    """Build an atlas in this process, and return its folder."""
    sk.atlas.build(sources, folder)
    return folder


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


SCRIPT = (sys.executable, "-c", "from scalekeys.cli import main; main()")
