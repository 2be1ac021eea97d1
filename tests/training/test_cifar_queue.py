"""The queue of trainings on CIFAR-10: its order, what it skips, and what it keeps of them."""

import json
from argparse import Namespace

import pytest

TINY = [
    "network.widths=[8]",
    "network.depths=[1]",
    "loop.epochs=1",
    "loop.batch=32",
    "loop.precision=fp32",
    "optimizer.warmup_epochs=0",
]


@pytest.fixture
def queue(scripts):
    import cifar

    return cifar


@pytest.fixture
def arguments(cifar, tmp_path):
    return Namespace(
        data=cifar,
        runs=tmp_path / "runs",
        kept=tmp_path / "kept",
        source=tmp_path / "runs" / "results",
        settings=TINY,
        conditions=("frozen_ideal8", "free_torch_init"),
        budgets=("16",),
        seeds=(0,),
        again=False,
    )


def in_this_process(command, **_):
    """Run the command line without a process of its own."""
    from scalekeys.cli import app

    app(command[command.index("train") :], standalone_mode=False)


def test_every_training_is_planned_once_and_those_that_say_most_come_first(queue):
    runs = queue.planned(queue.CONDITIONS, tuple(queue.BUDGETS), (0, 1, 2))
    names = [run.name for run in runs]
    small = [name for name in names if "-small-" in name]
    assert len(small) == 19 * 3
    assert names[:24] == small[:24]
    assert all("-small_" in name for name in names[24 + 9 : 24 + 9 + 18])
    others = [name for name in names if "-small" not in name]
    assert len(set(others)) == len(others) == 19 * 3 + 4 * 4 * 3
    main = ["free_torch_init", "frozen_ideal8", "frozen_matched_noise", "free_from_ideal8"]
    controls = ["frozen_rotated", "frozen_shuffled", "frozen_random", "frozen_matched_trained"]
    assert others[:12] == [*(f"{name}-5-0" for name in main), *(f"{name}-16-0" for name in (*main, *controls))]
    assert names.index("free-16-1") < names.index("replaced-16-1")
    assert all(run.recipe.is_file() for run in runs)
    few = queue.planned(("frozen_ideal8",), ("few", "48"), (3,))
    assert [run.name for run in few] == ["frozen_ideal8-48-3", "frozen_ideal8-few-3"]
    assert few[1].settings == ("loop.epochs=48", "data.train_images=5000", "seed=3")
    (imitating,) = queue.planned(("frozen_matched_trained",), ("small",), (1,))
    assert imitating.imitated.name == "free_torch_init-small-1"


def test_a_choice_without_any_planned_training_is_refused(queue, arguments):
    chosen = {**vars(arguments), "conditions": ("scale_space",), "budgets": ("small_long",)}
    for verb in (queue.train, queue.status):
        with pytest.raises(SystemExit, match="no training of these conditions and budgets is planned"):
            verb(Namespace(**chosen))


def test_the_recipes_of_all_runs_are_understood(queue):
    from scalekeys.training import read_recipe
    from scalekeys.training.depthwise import check

    for run in queue.planned(queue.CONDITIONS, tuple(queue.BUDGETS), (0,)):
        check(read_recipe(run.recipe, run.settings).depthwise)


def test_the_queue_trains_keeps_skips_and_sums_up(queue, arguments, capfd, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(queue.subprocess, "run", in_this_process)
        queue.train(arguments)
    results = queue.read_results(arguments.source)
    assert [result.run.name for result in results] == ["free_torch_init-16-0", "frozen_ideal8-16-0"]
    assert [result.learned_depthwise for result in results] == [8 * 49, 0]
    for result in results:
        assert result.evaluation.top1 == result.top1
        assert (result.images, result.precision, result.epochs) == (40, "fp32", 1)
    queue.status(arguments)
    assert capfd.readouterr().out.count("finished") == 2

    queue.collect(arguments)
    rows = json.loads((arguments.kept.with_suffix(".json")).read_text())["budgets"]["conditions"]
    by_name = {row["condition"]: row for row in rows}
    difference = by_name["frozen_ideal8"]["differences"]["free_torch_init"]
    assert difference["mean"] == pytest.approx(results[1].top1 - results[0].top1)
    assert difference["intervals"][0][0] <= difference["mean"] <= difference["intervals"][0][1]
    assert difference["interval_over_seeds"] is None
    assert (arguments.kept / "free_torch_init-16-0.csv").read_text().startswith("epoch,learning_rate")
    log = (arguments.kept / "runs.csv").read_text().splitlines()
    assert len(log) == 3
    assert log[0].startswith("run,condition,budget,seed,epochs,precision,hours")

    monkeypatch.setattr(queue, "SCALEKEYS", ("false",))  # nothing is trained whose result stands here or there
    for moved in (arguments.runs / "elsewhere", arguments.runs):
        queue.train(Namespace(**{**vars(arguments), "runs": moved}))
    with pytest.raises(SystemExit, match="2 trainings failed"):
        queue.train(Namespace(**{**vars(arguments), "again": True}))
    assert not list(arguments.runs.glob("*/last.pt"))  # they begin anew
    with pytest.raises(SystemExit, match="1 trainings failed: free_torch_init-16-1"):
        queue.train(Namespace(**{**vars(arguments), "seeds": (1,), "conditions": ("free_torch_init",)}))


def test_an_interval_over_seeds_is_that_of_student(queue):
    from cifar_sections.summary import over_seeds

    assert over_seeds([0.02]) is None
    # t(0.975, 2) = 4.3027 from a printed table; the standard error of 1, 2, 3 is 1/sqrt(3)
    assert over_seeds([1, 2, 3]) == pytest.approx([2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5], abs=1e-4)


def test_an_interval_over_images_is_that_of_the_images_of_one_seed_and_narrower_for_the_mean_of_several(queue):
    rows = json.loads(queue.KEPT.with_suffix(".json").read_text())["budgets"]["conditions"]
    found = [difference for row in rows for difference in row["differences"].values()]
    for one in found:
        widest = max(high - low for low, high in one["intervals"])
        low, high = one["interval_over_images"]
        assert (low + high) / 2 == pytest.approx(one["mean"])
        if len(one["seeds"]) == 1:
            assert [low, high] == pytest.approx(one["intervals"][0], abs=1e-4)
        else:
            assert 0.4 * widest < high - low < 0.9 * widest


def test_the_tables_of_the_page_are_those_of_the_results(queue, tmp_path):
    from cifar_sections.page import write_tables

    rows = json.loads(queue.KEPT.with_suffix(".json").read_text())["budgets"]["conditions"]
    copy = tmp_path / "page.md"
    copy.write_text(queue.PAGE.read_text())
    write_tables(copy, rows)
    assert copy.read_text() == queue.PAGE.read_text()
    one = next(row for row in rows if (row["condition"], row["budget"]) == ("free_torch_init", "small"))
    write_tables(copy, [one])  # what stood there before is replaced
    assert copy.read_text().count("(`") < queue.PAGE.read_text().count("(`")
    assert "(`free_torch_init`) | 64.0 ± 0.8 | 64.0, 63.2, 64.7 |" in copy.read_text()
