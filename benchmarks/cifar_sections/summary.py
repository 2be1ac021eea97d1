"""Conditions beside each other: means over seeds, their spread, and paired differences on the same test images."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import torch

from cifar_sections.plan import BUDGETS, CONDITIONS, MATCHED
from cifar_sections.results import Result
from scalekeys.proportions import mean_interval

REFERENCES = ("free_torch_init", "frozen_ideal8", "frozen_matched_noise")
"""What each condition is compared with, on the same test images and with the same seed."""


def summary(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a row for each condition and budget that has a result."""
    rows = []
    for budget in BUDGETS:
        for condition in CONDITIONS:
            mine = [result for result in results if (result.condition, result.budget) == (condition, budget)]
            if mine:
                rows.append(_row(condition, budget, sorted(mine, key=lambda result: result.seed), results))
    return rows


def _row(condition: str, budget: str, mine: list[Result], results: Sequence[Result]) -> dict[str, Any]:
    accuracies = [result.top1 for result in mine]
    return {
        "condition": condition,
        "filters": CONDITIONS[condition],
        "budget": budget,
        "epochs": mine[0].epochs,
        "seeds": [result.seed for result in mine],
        "learned_depthwise": mine[0].learned_depthwise,
        "top1": accuracies,
        "top1_mean": fmean(accuracies),
        "top1_std": stdev(accuracies) if len(mine) > 1 else None,
        "top1_intervals": [result.top1_interval for result in mine],
        "last_train_loss_mean": fmean(result.last_train_loss for result in mine),
        "r2_mean": fmean(result.r2 for result in mine),
        "hours": [result.hours for result in mine],
        "precisions": [result.precision for result in mine],
        "differences": {
            reference: found
            for reference in dict.fromkeys((*REFERENCES, MATCHED.get(condition, condition)))
            if reference != condition and (found := _differences(mine, reference, results)) is not None
        },
    }


def _differences(mine: list[Result], reference: str, results: Sequence[Result]) -> dict[str, Any] | None:
    """Compare results with those of a condition of the same seeds, settings and budget."""
    others = {
        result.seed: result
        for result in results
        if result.condition == reference and result.budget == mine[0].budget and result.settings == mine[0].settings
    }
    pairs = [(result, others[result.seed]) for result in mine if result.seed in others]
    if not pairs:
        return None
    found = [one.evaluation.difference(other.evaluation) for one, other in pairs]
    values = [difference.value for difference in found]
    return {
        "seeds": [one.seed for one, _ in pairs],
        "values": values,
        "intervals": [list(difference.interval) for difference in found],
        "mean": fmean(values),
        "interval_over_seeds": over_seeds(values),
        "interval_over_images": over_images(pairs),
    }


def over_seeds(values: Sequence[float]) -> list[float] | None:
    """Return where the mean over seeds lies with 95 % confidence, by Student's t; None of one value.

    >>> over_seeds([0.01, 0.02, 0.03])
    [-0.0048..., 0.0448...]
    """
    return list(mean_interval(values)) if len(values) > 1 else None


def over_images(pairs: Sequence[tuple[Result, Result]]) -> list[float]:
    """Return what the test images leave open, with 95 % confidence, of a mean difference over given seeds.

    Each image counts once, by the share of the seeds in which only the first of two networks classifies it correctly,
    less the share in which only the second one does.
    """
    shifts = [one.evaluation.correct1.double() - other.evaluation.correct1.double() for one, other in pairs]
    return list(mean_interval(torch.stack(shifts).mean(0).tolist()))


def printed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table for people: accuracies and differences in percent."""
    return [
        {
            "condition": row["condition"],
            "budget": row["budget"],
            "seeds": len(row["seeds"]),
            "top-1": with_spread(row["top1_mean"], row["top1_std"]),
            **{f"to {name}": points(row["differences"].get(name)) for name in REFERENCES},
            "to its noise": points(row["differences"].get(MATCHED.get(row["condition"]))),
            "train loss": f"{row['last_train_loss_mean']:.2f}",
            "hours": f"{fmean(row['hours']):.2f}",
        }
        for row in rows
    ]


def with_spread(mean: float, std: float | None) -> str:
    """Return a mean and the standard deviation of a seed, in percent."""
    return f"{100 * mean:.1f}" if std is None else f"{100 * mean:.1f} ± {100 * std:.1f}"


def points(found: dict[str, Any] | None) -> str | None:
    """Return a mean difference with the interval over seeds, or of one seed over the test images, in points."""
    if found is None:
        return None
    low, high = found["interval_over_seeds"] or found["intervals"][0]
    return f"{100 * found['mean']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
