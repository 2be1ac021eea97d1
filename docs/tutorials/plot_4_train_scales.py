"""
Train the scales of kernels
===========================

In an ordinary depthwise convolution every tap of a kernel is learned. In this tutorial only a few numbers of each
kernel are: a scale along x, a scale along y, and a factor. You will train such a network on handwritten digits, watch
its scales move, freeze them, and compare the accuracy with that of a network whose kernels are learned freely.

`The first tutorial <plot_1_explain_a_network.html>`_ explains the words *family* and *scale*.
"""

from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import scalekeys as sk

# %%
# The data and the network
# ------------------------
#
# The digits of scikit-learn have 8x8 pixels. They are enlarged to 16x16, so that a kernel of 7x7 taps sees strokes and
# not only the border of the image. 500 of the 1,797 images are kept for testing.

bunch = load_digits()
images = F.interpolate(torch.from_numpy(bunch.images).float()[:, None] / 8 - 1, size=16, mode="bilinear")
labels = torch.from_numpy(bunch.target).long()
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
test, train = order[:500], order[500:]
held_out = [(images[test], labels[test])]

# %%
# The network has two residual blocks: a depthwise convolution that looks at the neighbourhood of each pixel, and two
# 1x1 convolutions that mix the channels. The layer in the place of ``depthwise`` is an argument, because it is what
# the four trainings below differ in.

WIDTH = 24


class Block(nn.Module):
    """Depthwise convolution, batch norm, and two layers that mix channels, added to the input."""

    def __init__(self, depthwise):
        super().__init__()
        mix = nn.Conv2d(WIDTH, 2 * WIDTH, 1), nn.GELU(), nn.Conv2d(2 * WIDTH, WIDTH, 1)
        self.depthwise = depthwise
        self.rest = nn.Sequential(nn.BatchNorm2d(WIDTH), *mix)

    def forward(self, x):
        return x + self.rest(self.depthwise(x))


def build(make_depthwise):
    """Return a new network with the same initial weights outside its depthwise layers."""
    torch.manual_seed(0)
    stem, head = nn.Conv2d(1, WIDTH, 2, stride=2), nn.Linear(WIDTH, 10)
    blocks = [Block(nn.Identity()) for _ in range(2)]
    for block in blocks:
        block.depthwise = make_depthwise()
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


# %%
# ``sk.nn.ScaleSpaceConv2d`` takes the arguments of ``nn.Conv2d`` and a set of families. Here each channel in turn gets
# one of the eight idealized families, and all scales start at one pixel.


def free():
    return nn.Conv2d(WIDTH, WIDTH, 7, padding="same", groups=WIDTH)


def learned_scales():
    return sk.nn.ScaleSpaceConv2d(WIDTH, 7, "ideal", sigma=1.0, padding="same")


layer = learned_scales()
print(layer)
print(Counter({name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}))

# %%
# The layer is a module like any other: ``layer.weight`` is the present kernels, computed from the scales, and gradients
# flow back through this computation. The eight kinds of kernels, at a scale of one pixel:

figure, panels = plt.subplots(1, 8, figsize=(8, 1.3), layout="constrained")
for panel, name, kernel in zip(panels, sk.scalespace.ideal(2), layer.weight.detach()[:, 0], strict=False):
    largest = float(kernel.abs().max())
    panel.imshow(kernel, cmap="RdBu_r", vmin=-largest, vmax=largest)
    panel.set(title=name, xticks=[], yticks=[])

plt.show()

# %%
# Train, and watch the scales
# ---------------------------
#
# One detail matters: weight decay must not pull scales and factors to zero, because a network with smaller scales is
# not a simpler network. Scales and factors therefore get a separate parameter group without weight decay.

EPOCHS = 8


def fit_to_digits(network):
    """Train a network; return the scales of its first depthwise layer after each epoch, if the layer has some."""
    torch.manual_seed(1)
    kernel_numbers = [p for name, p in network.named_parameters() if ".kernel." in name]
    others = [p for name, p in network.named_parameters() if ".kernel." not in name]
    groups = [{"params": kernel_numbers, "weight_decay": 0.0}, {"params": others}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=4e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=EPOCHS * 21)
    layer, history = network[1].depthwise, []
    for _ in range(EPOCHS):
        history.append(getattr(layer, "sigma", torch.empty(0)).detach().clone())
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    history.append(getattr(layer, "sigma", torch.empty(0)).detach().clone())
    return torch.stack(history).numpy()


scaled = build(learned_scales)
history = fit_to_digits(scaled)
sk.evaluate(scaled, held_out)

# %%
# Each line below is the scale of one channel. All scales start at one pixel. During the training the kernels become
# wider or narrower, and the scales along x and along y may differ.

figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for panel, axis, scales in zip(panels, "xy", np.moveaxis(history, -1, 0), strict=True):
    panel.plot(scales, color="black", alpha=0.4, linewidth=1)
    panel.set(xlabel="epoch", title=f"sigma along {axis}")
panels[0].set_ylabel("pixels of the layer")
print(f"after {EPOCHS} epochs scales lie between {history[-1].min():.2f} and {history[-1].max():.2f} pixels")
plt.show()

# %%
# Freeze the scales
# -----------------
#
# Do the scales have to be learned at all? With ``learn_sigma=False`` they stay at one pixel, and each kernel keeps only
# its factor. The third network has ordinary convolutions, whose 49 taps are all learned. A fourth network has the same
# ordinary convolutions, but they are never trained: it is a control that shows what the rest of the network can do with
# random kernels.


def frozen_scales():
    return sk.nn.ScaleSpaceConv2d(WIDTH, 7, "ideal", sigma=1.0, learn_sigma=False, padding="same")


def random_kernels():
    layer = free()
    layer.weight.requires_grad_(False)
    return layer


networks = {"learned scales": scaled}
for name, make in {"frozen scales": frozen_scales, "free kernels": free, "random kernels": random_kernels}.items():
    networks[name] = build(make)
    fit_to_digits(networks[name])

evaluations = {name: sk.evaluate(network, held_out) for name, network in networks.items()}
for name, network in networks.items():
    learned = sum(p.numel() for block in network[1:3] for p in block.depthwise.parameters() if p.requires_grad)
    print(f"{name:14} {learned:5} numbers learned in depthwise layers, {evaluations[name]}")

# %%
# Compare the networks image by image: three networks with the one whose kernels are learned freely, and the network
# with learned scales with the control.

pairs = [(name, "free kernels") for name in networks if name != "free kernels"]
pairs.append(("learned scales", "random kernels"))
figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
for place, (name, other) in enumerate(pairs):
    difference = evaluations[name].difference(evaluations[other])
    low, high = difference.interval
    verdict = "not told apart from" if low <= 0 <= high else "better than" if low > 0 else "worse than"
    print(f"{name}: {verdict} {other}, {difference}")
    axes.plot([100 * low, 100 * high], [place] * 2, color="black")
    axes.plot(100 * difference.value, place, "o", color="black")
axes.axvline(0, color="0.6", linewidth=1)
labels_of_pairs = [f"{name} beside {other}" for name, other in pairs]
axes.set(yticks=range(len(pairs)), yticklabels=labels_of_pairs, xlabel="difference in points of top-1, with 95 %")
plt.show()

# %%
# These are four comparisons with one seed on 500 easy images, so read them with care. An interval that holds 0 means
# that these images do not decide, and not that the networks are equal. Among four intervals, one that barely misses 0
# is weak evidence. The intervals also do not include the variation between seeds. The network with random kernels shows
# how easy the task is: the layers that mix channels read nearly all digits by themselves.
#
# Use the result
# --------------
#
# ``sk.bake`` turns the layers into plain convolutions, and ``sk.fit`` finds the learned scales again in their weights,
# as it would in any other network.

baked = sk.bake(scaled)
found = sk.fit(sk.extract(baked)).sigma[:WIDTH]
print(type(scaled[1].depthwise).__name__, "->", type(baked[1].depthwise).__name__)
print(f"scales of the layer {scaled[1].depthwise.sigma[0].tolist()}, found in its weights {found[0].tolist()}")

# %%
# To start from a trained network, use ``sk.constrain``: it makes the weights functions of the scales that were fitted
# to them. The page on training shows longer trainings by recipes.
