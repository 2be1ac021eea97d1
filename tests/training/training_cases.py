"""Trainings that are interrupted, the figures that two of them share, and the filters of a network in training."""

import torch

import scalekeys as sk

TIMES = {"seconds", "images_per_second"}


class Interrupted(Exception):
    pass


class StopAfter:
    """Interrupts a training in the midst of an epoch."""

    def __init__(self, images):
        self.images = images

    def begin(self, epoch, epochs, images):
        pass

    def advance(self, images):
        self.images -= images
        if self.images < 0:
            raise Interrupted

    def end(self, row):
        pass


def figures(rows):
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def filters(network):
    """Return the kernels of all layers."""
    return torch.cat([layer.kernels for layer in sk.extract(network)])


def learned(network):
    """Return the names of the parameters of depthwise layers that take gradients."""
    return {name.partition("depthwise.")[2] for name, p in network.named_parameters() if p.requires_grad} - {""}
