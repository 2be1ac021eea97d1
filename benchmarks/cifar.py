"""The experiment of the paper's last section on CIFAR-10: what depthwise filters have to learn.

    python benchmarks/cifar.py train --data cifar10.npz --runs runs
    python benchmarks/cifar.py status --runs runs
    python benchmarks/cifar.py collect --from runs/results

``train`` trains one network under every condition of ``builtin:cifar_convnext_*``, for every seed and budget,
those first that say most. Interrupted, the same command goes on where it stopped; a training whose result stands in
``results/cifar``, or in the folder ``results`` of the runs, is not trained again. ``status`` says what is finished,
what has begun and what waits. ``collect`` copies results into ``results/cifar``, a JSON and a CSV file for each
training, writes a log of all (``runs.csv``), and sums them up in ``results/cifar.json`` and in the tables of
``docs/results/training.md``: means over seeds, their spread, and differences in points on the same test images with
95 % intervals.
"""

import argparse
import os
import subprocess
from pathlib import Path

from cifar_sections.page import write_tables
from cifar_sections.plan import BUDGETS, CONDITIONS, Planned, planned
from cifar_sections.results import LOG, copy_results, read_results, result_of, standing, write_log, write_result
from cifar_sections.summary import printed, summary
from fit_sections.command import SCALEKEYS
from fit_sections.record import RESULTS, save, table
from scalekeys.training.records import METRICS
from scalekeys.training.snapshots import SNAPSHOT

KEPT = RESULTS.with_name("cifar")
"""Where the results of finished trainings are kept in the repository."""
PAGE = RESULTS.parents[2] / "docs" / "results" / "training.md"
"""The page with their tables."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # keep freed memory, which every step needs again: returning it to the system costs some percent of a step
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}


def main() -> None:
    arguments = _parsed()
    arguments.verb(arguments)


def train(arguments: argparse.Namespace) -> None:
    """Train what has no result yet; a training that fails is named, and the next one begins."""
    failed = []
    for run in _planned(arguments):
        if not arguments.again and standing(run, (arguments.kept, arguments.runs / "results")):
            continue
        if arguments.again:
            _forget(run, arguments.runs)
        print(f"{run.name}: begins or goes on", flush=True)
        try:
            _train(run, arguments)
        except (subprocess.CalledProcessError, SystemExit) as error:
            print(f"{run.name}: failed ({error})", flush=True)
            failed.append(run.name)
    if failed:
        raise SystemExit(f"{len(failed)} trainings failed: {', '.join(failed)}")


def _forget(run: Planned, runs: Path) -> None:
    """Let a training that has finished in this folder begin anew; one that was interrupted goes on."""
    result = runs / "results" / f"{run.name}.json"
    if result.is_file():
        (runs / run.name / SNAPSHOT).unlink(missing_ok=True)
        result.unlink()


def _train(run: Planned, arguments: argparse.Namespace) -> None:
    folder = arguments.runs / run.name
    settings = [*run.settings, f"data.source={arguments.data}", *arguments.settings]
    if run.start is not None:
        settings.append(f"network.checkpoint={arguments.runs / run.start.name}")
    if run.imitated is not None:
        settings.append(f"depthwise.covariance_from={arguments.runs / run.imitated.name}")
    command = (*SCALEKEYS, "train", str(run.recipe), *settings, "-o", str(folder))
    subprocess.run(command, env=os.environ | _ENVIRONMENT, check=True)
    result = result_of(run, folder, arguments.settings)
    write_result(result, folder, arguments.runs / "results")
    print(f"{run.name}: top-1 {100 * result.top1:.1f} %, {result.hours:.2f} hours", flush=True)


def status(arguments: argparse.Namespace) -> None:
    """Say of each training whether it is finished, has begun or waits."""
    rows = []
    for run in _planned(arguments):
        file = standing(run, (arguments.kept, arguments.runs / "results"))
        metrics = arguments.runs / run.name / METRICS
        epochs = len(metrics.read_text().splitlines()) - 1 if metrics.is_file() else 0
        begun = (arguments.runs / run.name).is_dir()
        state = f"finished, {file.parent}" if file else f"{epochs} epochs done" if begun else "waits"
        rows.append({"run": run.name, "state": state})
    table("trainings", rows)


def collect(arguments: argparse.Namespace) -> None:
    """Take finished results into the repository, and sum up all that are there."""
    copied = copy_results(arguments.source, arguments.kept, again=arguments.again) if arguments.source else []
    results = read_results(arguments.kept)
    write_log(results, arguments.kept / LOG)
    rows = summary(results)
    save("budgets", {"conditions": rows}, arguments.kept.with_suffix(".json"))
    if arguments.kept == KEPT:
        write_tables(PAGE, rows)
    table("CIFAR-10, top-1 in percent and differences in points (95 %)", printed(rows))
    print(f"\n{len(copied)} new results: {', '.join(copied) or 'none'}")


def _planned(arguments: argparse.Namespace) -> list[Planned]:
    runs = planned(tuple(arguments.conditions), tuple(arguments.budgets), tuple(arguments.seeds))
    if not runs:
        raise SystemExit("no training of these conditions and budgets is planned; `status` lists those that are")
    return runs


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for verb in (train, status, collect):
        one = verbs.add_parser(verb.__name__, help=verb.__doc__, description=verb.__doc__)
        one.set_defaults(verb=verb)
        one.add_argument("--kept", type=Path, default=KEPT, help="where results stand; results/cifar by default")
        if verb is not status:
            one.add_argument("--again", action="store_true", help="also what has a result")
        if verb is collect:
            one.add_argument("--from", dest="source", type=Path, help="a folder of results to copy from")
            continue
        one.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trainings")
        one.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=tuple(CONDITIONS), metavar="NAME")
        one.add_argument("--budgets", nargs="+", choices=BUDGETS, default=tuple(BUDGETS), metavar="NAME")
        one.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
        if verb is train:
            one.add_argument("--data", type=Path, required=True, help="what data.source of a recipe takes")
            one.add_argument(
                "--settings", nargs="+", default=[], help="further settings of every recipe: loop.batch=64"
            )
    return parser.parse_args()


if __name__ == "__main__":
    main()
