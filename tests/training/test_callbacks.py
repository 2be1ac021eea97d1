"""What is logged of the filters in trainings by other loops: the right figures, at the right steps, by one process."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import scalekeys as sk
from scalekeys.errors import CheckpointError, MissingExtraError
from scalekeys.training import TensorBoardFigures, filter_figures, lightning_callback, trainer_callback


@pytest.fixture
def network():
    """A layer of derivatives of Gaussians, a quarter of them dead, and one of white noise."""
    formed, noise = (nn.Conv2d(32, 32, 7, groups=32) for _ in range(2))
    with torch.no_grad():
        formed.weight.copy_(sk.master_keys().repeat(4, 1, 1)[:, None])
        formed.weight[:4], formed.weight[4:8] = 0, 1e-9
        noise.weight.copy_(torch.randn(32, 1, 7, 7, generator=torch.Generator().manual_seed(0)))
    return nn.Sequential(formed, noise)


def scalars(folder):
    """Return the steps and values of each tag."""
    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_figures_tell_formed_filters_noise_and_dead_ones(network):
    figures = filter_figures(network)
    assert (figures["dead"], figures["dead 0"], figures["dead 1"]) == (0.125, 0.25, 0.0)
    assert figures["formation 0"] > 0.9 > 0.4 > abs(figures["formation 1"])
    fit = sk.fit(sk.extract(network))
    scale = fit.sigma[:32].prod(1).sqrt().numpy()
    assert figures["sigma 0"] == pytest.approx(np.median(scale[np.isfinite(scale)]))
    assert figures["infinite 0"] == pytest.approx(np.isinf(scale).sum() / 24)


def test_a_sample_counts_all_dead_filters(network):
    sample, whole = filter_figures(network, most=8), filter_figures(network)
    assert [sample[name] for name in ("dead", "dead 0")] == [whole["dead"], whole["dead 0"]]
    assert sample.keys() == whole.keys()


def test_filters_that_show_no_scale_have_no_figure():
    layer = nn.Conv2d(8, 8, 7, groups=8)
    nn.init.zeros_(layer.weight)
    assert filter_figures(layer) == {"r2": 0.0, "r2 weight": 0.0, "dead": 1.0, "dead weight": 1.0}


def test_tensorboard_gets_the_figures_of_each_epoch(network, tmp_path):
    with TensorBoardFigures(tmp_path) as figures:
        figures.write(network, 0)
        network[0].weight.data[8:16] = 0
        figures.write(network, 1)
    assert scalars(tmp_path)["dead/0"] == [(0, 0.25), (1, 0.5)]


def test_the_trainer_of_hugging_face_logs_in_the_first_process(network, tmp_path):
    parts = pytest.importorskip("transformers.trainer_callback")
    arguments, control = SimpleNamespace(output_dir=str(tmp_path)), parts.TrainerControl()
    for first in (True, False):
        handler = parts.CallbackHandler([trainer_callback(most=4)], network, None, None, None)
        state = parts.TrainerState(is_world_process_zero=first)
        handler.on_train_begin(arguments, state, control)
        state.global_step = 3
        handler.on_epoch_end(arguments, state, control)
        handler.on_train_end(arguments, state, control)
    assert scalars(tmp_path / "filters")["dead/0"] == [(0, 0.25), (3, 0.25)]


class Loggers:
    """As much of a trainer of Lightning as the callback uses."""

    def __init__(self, *, first):
        self.is_global_zero, self.global_step, self.found = first, 0, []
        self.loggers = [SimpleNamespace(log_metrics=lambda figures, step: self.found.append((step, figures)))]


@pytest.fixture
def lightning(monkeypatch):
    """Stand in for Lightning, of which nothing but the base class is used."""
    package, torch_part = ModuleType("lightning"), ModuleType("lightning.pytorch")
    torch_part.Callback = type("Callback", (), {})
    monkeypatch.setitem(sys.modules, "lightning", package)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", torch_part)


@pytest.mark.usefixtures("lightning")
def test_lightning_logs_in_the_first_process(network):
    callback, first, second = lightning_callback(most=4), Loggers(first=True), Loggers(first=False)
    for trainer in (first, second):
        callback.on_fit_start(trainer, network)
        trainer.global_step = 7
        callback.on_train_epoch_end(trainer, network)
    assert second.found == []
    assert [(step, figures["dead/0"]) for step, figures in first.found] == [(0, 0.25), (7, 0.25)]


@pytest.mark.usefixtures("lightning")
def test_a_network_without_depthwise_filters_is_refused_at_the_start():
    with pytest.raises(CheckpointError, match="depthwise"):
        lightning_callback().on_fit_start(Loggers(first=True), nn.Linear(2, 2))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'scalekeys\[lightning\]'"):
        lightning_callback()
