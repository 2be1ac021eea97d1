"""
Check the kernels of a network, and act on a finding
====================================================

A network can be accurate and still waste work: kernels that are larger than what they hold, filters whose output never
changes, copies of other filters. ``sk.check`` examines the kernels and says what to do. In this tutorial you will train
a small network with generously large kernels, check it, follow a piece of advice on a copy, and measure what that saves
and costs.

`The first tutorial <plot_1_explain_a_network.html>`_ explains the words *family*, *scale* and *matched noise*.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import scalekeys as sk

# %%
# A network with large kernels
# ----------------------------
#
# The task is to read the handwritten digits that scikit-learn ships, enlarged to 16x16 pixels. 500 images are kept for
# testing; the check and all repairs see training images only.

bunch = load_digits()
images = F.interpolate(torch.from_numpy(bunch.images).float()[:, None] / 8 - 1, size=16, mode="bilinear")
labels = torch.from_numpy(bunch.target).long()
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
test, train = order[:500], order[500:]

# %%
# How large should depthwise kernels be? Suppose that you do not know, and take 11x11 taps to be safe. The layers are
# ``sk.nn.ScaleSpaceConv2d``: each kernel is a blur, or a difference of a blur, whose width is learned. The seventh
# channel of each layer is given a weight of zero and is left out of the training, as a stand-in for a filter that died;
# trained networks contain such filters (216 of the 3,416 depthwise filters of MCUNet, for example).

WIDTH, SIDE, DEAD = 24, 11, 6


class Block(nn.Module):
    """Depthwise convolution, batch norm, ReLU, and a layer that mixes channels, added to the input."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.depthwise = sk.nn.ScaleSpaceConv2d(WIDTH, SIDE, "ideal", sigma=1.0, padding="same", bias=False)
        self.project = nn.Sequential(nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 1))

    def forward(self, x):
        return x + self.project(self.depthwise(self.expand(x)))


torch.manual_seed(0)
stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, WIDTH, 1))
network = nn.Sequential(stem, Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))
optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.0)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=10 * 21)
for _ in range(10):
    for batch in train[torch.randperm(len(train))].split(64):
        optimizer.zero_grad()
        F.cross_entropy(network(images[batch]), labels[batch], label_smoothing=0.1).backward()
        optimizer.step()
        schedule.step()

network = sk.bake(network.eval())  # plain convolutions, as a network that somebody else trained would have
held_out = [(images[test], labels[test])]
before = sk.evaluate(network, held_out)
print(before)
import time; print(time.process_time())
for c in (sk.check(network), sk.check(network, images=[images[train[:400]]])):
    for a in c.advice: print(a)
    print(c.skipped)
