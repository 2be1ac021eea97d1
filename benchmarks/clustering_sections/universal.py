"""Whether keys are universal: in one network, between tasks, and beside the eight published keys.

The source is a list of networks, a CSV file with columns source, architecture and task. Kernel sizes of two axes of at
least three taps of which a network has 64 filters that are not dead; about 500 filters of a network and size at most,
and 8,192 (for halves 4,096) of all networks together. Noise between tasks is drawn three times, elsewhere once.
Networks of one series (the architecture up to the first space or hyphen) count as one: intervals are Student's, of the
mean over series, or over groups of tasks. `published` keys are cropped or padded to the kernel size.
All rows are written beside the JSON file too, as universal_networks.csv and universal_tasks.csv.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment

from clustering_sections.zoo_networks import Network, networks_of
from fit_sections.record import Progress, table
from scalekeys.clustering.held_out import SHARES, held_out_cover
from scalekeys.clustering.network_sample import MOST, NetworkSample, equal_shares
from scalekeys.clustering.points import noise_of
from scalekeys.clustering.published import published_rows
from scalekeys.clustering.spec import ClusterSpec, parse_spec
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like
from scalekeys.proportions import mean_interval
from scalekeys.shapes import Size, size_text

HELP = "keys of one task beside other tasks, over a list of networks"

KS = (1, 2, 4, 8, 16)
SIZES = ((7, 7), (5, 5), (3, 3))
ENOUGH = 0.8
"""The share of energy for which numbers of keys are compared."""
_KINDS = ("explained", "matched_noise", "white_noise")
_MOST_OF_HALVES = 4_096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("list", type=Path, help="CSV file of networks")
    parser.add_argument("--k", type=int, default=8, help="of the comparisons between tasks and halves")
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--task-restarts", type=int, default=2, help="of the comparison between tasks")
    parser.add_argument("--splits", type=int, default=20, help="random halves of the series")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    start = time.process_time()
    zoo = list(networks_of(arguments.list))
    networks = pd.DataFrame(_networks(zoo, arguments))
    tasks, halves, notes = [], [], []
    for size in SIZES:
        some = [network for network in zoo if size in network.banks]
        frame, said = _tasks(some, size, arguments)
        tasks.append(frame)
        notes += said
        halves.append(_halves(some, size, arguments))
    by_task, by_split = pd.concat(tasks), pd.concat(halves)
    _write(networks, arguments.output.with_name("universal_networks.csv"))
    _write(by_task, arguments.output.with_name("universal_tasks.csv"))
    return {
        "s": round(time.process_time() - start),
        "notes": notes,
        "numbers_of_keys": _numbers_of_keys(networks),
        "published_keys": _published_keys(networks),
        "tasks": _task_means(by_task),
        "halves": _half_means(by_split),
        "network_rows": _lines(networks),
        "task_rows": _lines(by_task),
        "split_rows": _lines(by_split),
    }


def show(results: dict[str, Any]) -> None:
    for name in ("numbers_of_keys", "published_keys", "tasks", "halves"):
        table(name.replace("_", " "), results[name])
    print("\n".join(["", "by task", *results["task_rows"], "", *results["notes"]]))


def _networks(zoo: Sequence[Network], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    progress = Progress("networks", len(zoo))
    rows: list[dict[str, Any]] = []
    for network in zoo:
        for size in network.banks:
            rows += _of_one_network(network, size, arguments.restarts)
        progress.advance(1)
    return rows


def _of_one_network(network: Network, size: Size, restarts: int) -> Iterator[dict[str, Any]]:
    """Yield what numbers of keys explain of one network and of noise in its place, beside the published keys."""
    samples = _with_noise([network.banks[size]], parse_spec(1, sizes=size))
    for k in (k for k in KS if k <= len(samples[0].rows)):
        spec, everything = parse_spec(k, restarts=restarts), torch.ones(1, dtype=torch.float64)
        keys = [one.keys(everything, spec) for one in samples]
        shares = [float(one.explained(found)) for one, found in zip(samples, keys, strict=True)]
        row = (
            _labels(network, size) | {"filters": len(samples[0].rows), "k": k} | dict(zip(_KINDS, shares, strict=True))
        )
        row["published"] = float(samples[0].explained(published_rows(size))) if k == 8 else None
        for name, found in zip(_KINDS, keys, strict=True):
            row[f"like_published_{name}"] = _like_published(found, size) if k == 8 else None
        yield row


def _with_noise(banks: Sequence[FilterBank], spec: ClusterSpec, most: int = MOST) -> list[NetworkSample]:
    """Return samples of filters, of matched noise and of white noise in their place."""
    places = [banks, *(noise_of(banks, noise, 0) for noise in (matched_noise_like, white_noise_like))]
    return [NetworkSample.of(each, spec, most) for each in places]


def _like_published(keys: torch.Tensor, size: Size) -> float:
    """Match keys with the published ones one to one, and return the mean correlation of the pairs, without signs."""
    correlation = (keys.double() @ published_rows(size).T).abs().numpy()
    return float(correlation[linear_sum_assignment(-correlation)].mean())


def _labels(network: Network, size: Size) -> dict[str, Any]:
    names = {"network": network.banks[size].model, "architecture": network.architecture, "series": network.series}
    return names | {"task": network.task, "group": network.group, "kernel": size_text(size)}


def _tasks(some: Sequence[Network], size: Size, arguments: argparse.Namespace) -> tuple[pd.DataFrame, list[str]]:
    """Return for each group of tasks what keys of the others explain of it."""
    found = held_out_cover(
        [network.banks[size] for network in some],
        [network.group for network in some],
        arguments.k,
        series=[network.series for network in some],
        restarts=arguments.task_restarts,
        sizes=size,
    )
    frame = found.groups
    frame.insert(0, "kernel", size_text(size))
    frame.insert(3, "series", found.networks.groupby("group", sort=False).series.nunique().to_numpy())
    return frame, [f"{size_text(size)}: {note}" for note in found.notes]


def _halves(some: Sequence[Network], size: Size, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return for each split and series what keys of its own half, and of the other half, explain of it."""
    spec = parse_spec(arguments.k, restarts=arguments.restarts, sizes=size)
    sample, *noises = _with_noise([network.banks[size] for network in some], spec, _MOST_OF_HALVES)
    labels = [(network.series,) for network in some]
    names = sorted({network.series for network in some})
    generator, progress = np.random.default_rng(0), Progress(f"halves {size_text(size)}", arguments.splits)
    parts = []
    for split in range(arguments.splits):
        first = set(generator.permutation(names)[: len(names) // 2])
        inside = torch.tensor([network.series in first for network in some])
        columns: dict[str, torch.Tensor] = {}
        for mine in (inside, ~inside):
            shares = equal_shares(labels, mine)
            found = sample.explained(sample.keys(shares, spec))
            columns["within"] = torch.where(mine, found, columns.get("within", found))
            others = [found, *(sample.explained(noise.keys(shares, spec)) for noise in noises)]
            for name, values in zip(("across", *_KINDS[1:]), others, strict=True):
                columns[name] = torch.where(mine, columns.get(name, values), values)
        frame = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
        frame = frame.groupby([network.series for network in some], sort=True).mean()
        parts.append(frame.rename_axis("series").reset_index().assign(split=split))
        progress.advance(1)
    frame = pd.concat(parts)
    frame.insert(0, "kernel", size_text(size))
    return frame


def _numbers_of_keys(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Average over the networks of a series, and then over series."""
    rows = []
    for (kernel, k), some in frame.groupby(["kernel", "k"], sort=False):
        row = {"kernel": kernel, "k": k, "networks": len(some)} | _means(some.groupby("series")[list(_KINDS)].mean())
        rows.append(row | {f"reach {ENOUGH:.0%}": int((some.explained >= ENOUGH).sum())})
    return _largest_first(rows)


def _published_keys(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for kernel, some in frame[frame.k == 8].groupby("kernel", sort=False):
        some = some.rename(columns={f"like_published_{name}": f"like {name}" for name in _KINDS})
        names = [f"like {name}" for name in _KINDS]
        rows.append({"kernel": kernel, "networks": len(some)} | _means(some.groupby("series")[names].mean()))
    return _largest_first(rows)


def _task_means(frame: pd.DataFrame) -> list[dict[str, Any]]:
    names = ["held_out", *(name for name in SHARES if name != "held_out")]
    groups = frame.groupby("kernel", sort=False)
    return [{"kernel": kernel, "networks": int(some.networks.sum())} | _means(some[names]) for kernel, some in groups]


def _half_means(frame: pd.DataFrame) -> list[dict[str, Any]]:
    names = ["across", "within", *_KINDS[1:]]
    groups = frame.groupby("kernel", sort=False)
    return [{"kernel": kernel} | _means(some.groupby("series")[names].mean()) for kernel, some in groups]


def _means(values: pd.DataFrame) -> dict[str, Any]:
    """Return the mean of each column, and the interval of what the first has more than each other one."""
    first, *others = values.columns
    row: dict[str, Any] = {"n": len(values)} | {name: round(float(values[name].mean()), 4) for name in values.columns}
    row[f"{first} 95 %"] = _interval(values[first])
    return row | {f"less {name} 95 %": _interval(values[first] - values[name]) for name in others}


def _interval(values: "pd.Series[float]") -> str:
    if len(values) < 3:
        return "-"
    low, high = mean_interval(values.tolist())
    return f"{low:.3f} to {high:.3f}"


def _largest_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort by kernel size, those of most networks first among equals."""
    return sorted(rows, key=lambda row: (-np.prod([int(side) for side in row["kernel"].split("x")]), row["kernel"]))


def _lines(frame: pd.DataFrame) -> list[str]:
    """Write rows in short: as the lines of a CSV file."""
    return frame.to_csv(index=False, float_format="%.4f", lineterminator="\n").splitlines()


def _write(frame: pd.DataFrame, path: Path) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text("\n".join([*_lines(frame), ""]), encoding="utf-8")
    temporary.replace(path)
