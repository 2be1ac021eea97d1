"""
Replace the kernels of a network and measure the cost
=====================================================

Can the kernels of a trained network be replaced by simpler shapes, and what does that cost in accuracy? In this
tutorial you will train a small network on handwritten digits, replace all its depthwise kernels by models of them,
measure the accuracy before and after, and repair most of the loss without any further training.

`The first tutorial <plot_1_explain_a_network.html>`_ explains the words *family*, *scale*, *r2* and *matched noise*.
"""

import matplotlib.pyplot as plt
import torch

import scalekeys as sk
from scalekeys.filters import NoiseModel
from scalekeys.training import train_digits

# %%
# A network to work on
# --------------------
#
# The package has a small network for the digits that scikit-learn ships: three layers of 32 depthwise kernels of 7x7
# taps. Eight epochs take less than half a minute. A fifth of the digits, 359 images, is kept for testing.

trained = train_digits(epochs=8, seed=0)
network = trained.network
images, labels = trained.test
test = [(images, labels)]  # anything that yields batches of images and labels will do, such as a DataLoader
before = sk.evaluate(network, test)
before

# %%
# With so few test images the accuracy is known only to a few points, as the interval shows. For the *difference* of
# two networks on the same images the uncertainty is smaller, because only the images count on which the two networks
# disagree. The tables below therefore compare networks image by image.
#
# Models of the kernels
# ---------------------
#
# Three models are tried. Each of them keeps fewer numbers of a kernel than its 49 taps:
#
# - ``ideal``: the best of the eight idealized families, which is one blur, a point minus a multiple of the second
#   differences of one blur, or one first difference of a blur, at its own scales;
# - ``jet2``: all differences of a blur up to the second order, mixed freely, at one scale along each axis. Such a free
#   mixture is called a *jet*;
# - ``sparse6``: the six blurs and differences, of orders up to six, that together explain the kernel best.
#
# Two models are controls, which tell how much the network depends on the form of its kernels. *White noise* keeps only
# the mean and the energy of each kernel. *Matched noise* is also as smooth and as wide as the kernels of the layer.

bank = sk.extract(network)
models = {name: sk.fit(bank, name) for name in ("ideal", "jet2", "sparse6")}
models["matched noise"] = NoiseModel(bank, sk.matched_noise_like(bank))
models["white noise"] = sk.model_filters(bank, "noise")
for name, model in models.items():
    print(f"{name:14} median r2 {model.r2.median():6.2f}, {sk.replacement(model).to_pandas().numbers.sum()} numbers")

# %%
# The r2 of noise is negative, because noise is a random kernel and not a fit: it is further from the kernel than a
# constant.
#
# Replace and evaluate
# --------------------
#
# ``sk.replace`` returns a copy of the network in which the models replace the kernels. The network itself does not
# change, and nothing is trained.

replaced = {name: sk.replace(network, model) for name, model in models.items()}
costs = {name: sk.evaluate(other, test).difference(before) for name, other in replaced.items()}
for name, cost in costs.items():
    print(f"{name:14} {cost}")

# %%
# Replacing the kernels by a single family ruins the network. A part of this loss has a simple reason: the kernels have
# changed, but the batch norms behind them still divide by the variances of the old outputs.
#
# Match the statistics
# --------------------
#
# ``sk.recalibrate`` re-estimates the statistics of each batch norm on some images, so that the mean and the variance of
# its output are those of the original network on the same images. It needs neither labels nor gradients. The images
# come from the training set here, because the test images must not be used.

seen = [trained.train[0][:300]]
matched = {name: sk.recalibrate(other, seen, network) for name, other in replaced.items()}
costs_matched = {name: sk.evaluate(other, test).difference(before) for name, other in matched.items()}
for name, cost in costs_matched.items():
    print(f"{name:14} {cost}")

# %%
# One picture shows both steps, with intervals of 95 %.

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
steps = {"replaced": (costs, "C1", -0.1), "replaced, statistics matched": (costs_matched, "black", 0.1)}
for label, (shown, colour, shift) in steps.items():
    for place, cost in enumerate(shown.values()):
        low, high = cost.interval
        axes.plot([place + shift] * 2, [100 * low, 100 * high], color=colour)
        axes.plot(place + shift, 100 * cost.value, "o", color=colour, label=label if place == 0 else None)
axes.axhline(0, color="0.6", linewidth=1)
axes.set(xticks=range(len(models)), xticklabels=models, ylabel="points of top-1 accuracy")
axes.legend(frameon=False)
plt.show()

# %%
# What can be said after five comparisons on 359 images?

for name, cost in costs_matched.items():
    low, high = cost.interval
    verdict = "worse than the original" if high < 0 else "not told apart from the original"
    print(f"{name:14} {verdict} (95 % from {100 * low:+.1f} to {100 * high:+.1f} points)")

# %%
# *Not told apart* does not mean *equal*: with this many images a loss as large as the lower end of the interval could
# go unnoticed. Both kinds of noise lose far more than the jets do, so the network needs the form of its kernels, and
# not only their size and smoothness. One family for each kernel is too simple for this network, even with matched
# statistics.
#
# Keep the scales as parameters, and make them plain again
# --------------------------------------------------------
#
# ``sk.replace`` writes plain weights. ``sk.constrain`` keeps the parameters of the models instead: the weights become
# functions of scales and coefficients, so that training can continue with these few parameters. ``sk.bake`` turns the
# functions into ordinary weights at the end, to save, to export or to deploy.

constrained = sk.constrain(network, models["jet2"], learn="scales+coefficients")
baked = sk.bake(constrained)
learned = sum(p.numel() for name, p in constrained.named_parameters() if "weight.0" in name and p.requires_grad)
print(f"{learned} numbers in the place of {sum(layer.kernels.numel() for layer in bank)} taps")
print(type(constrained.blocks[0].depthwise).__name__, "->", type(baked.blocks[0].depthwise).__name__)
with torch.inference_mode():
    largest = (constrained.eval()(images) - baked.eval()(images)).abs().max()
print(f"largest difference of outputs: {largest:.1g}")

# %%
# On files, without Python, the same step is ``scalekeys replace model.pth -o new.pth --model sparse6``, and ``scalekeys
# evaluate`` measures the accuracy. The results of surgery say what each model costs on MCUNet, a network for ImageNet,
# compared with principal components and cosines with as many numbers.
