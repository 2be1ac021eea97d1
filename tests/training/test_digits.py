"""The network of the demonstration."""

import numpy as np
import torch

from scalekeys.training import digits, train_digits


def test_a_short_training_learns_and_reports_progress():
    calls = []
    trained = train_digits(epochs=3, seed=0, progress=calls.append)
    assert calls == [1] * 3
    assert trained.accuracy > 0.2  # a guess reads 10 % of the digits correctly, with a standard error of 1.6 %
    assert not trained.network.training
    images, labels = trained.test
    with torch.no_grad():
        assert float((trained.network(images).argmax(-1) == labels).double().mean()) == trained.accuracy
    assert (len(trained.train[0]), len(labels)) == (1438, 359)


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_generator_alone(monkeypatch):
    few = [part[:160] for part in digits._digits()]
    monkeypatch.setattr(digits, "_digits", lambda: few)
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    first, second = (train_digits(epochs=1, seed=5).network.state_dict() for _ in range(2))
    np.testing.assert_array_equal(torch.rand(3), expected)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    other = train_digits(epochs=1, seed=6).network.state_dict()
    assert not torch.equal(first["stem.1.weight"], other["stem.1.weight"])
