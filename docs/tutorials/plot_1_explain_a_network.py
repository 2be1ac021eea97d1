"""
What did the kernels of a network learn?
========================================

This tutorial goes from the file of a trained network to a page that explains its convolution kernels. You will extract
the kernels, fit a simple shape to each of them, and compare the result with two kinds of random kernels, so that you
know how much of it is more than chance.

The network is a small one that removes noise from pictures, whose weights come with the package under the name
``builtin:denoiser``. A file of your own (``"model.pth"``, ``"model.safetensors"``, ``"model.onnx"``), an
``nn.Module``, or a name such as ``"timm:convnext_tiny"`` goes in the same place.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import scalekeys as sk

bank = sk.extract("builtin:denoiser")
bank

# %%
# A *bank* holds the kernels of the depthwise convolutions, layer by layer. A depthwise convolution applies one small
# kernel to each channel, so that a layer with 32 channels has 32 kernels, and each of them can be drawn as a picture.
# Here are the first kernels of two layers. White is zero, red is positive and blue is negative.


def draw(axes, kernel, title=""):
    """Draw a kernel with colours that run to its own largest absolute value."""
    largest = float(abs(kernel).max())
    axes.imshow(kernel, cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)


figure, panels = plt.subplots(4, 10, figsize=(8, 3.6), layout="constrained")
for rows, layer in zip((panels[:2], panels[2:]), (bank.layers[0], bank.layers[-1]), strict=True):
    for place, kernel in zip(rows.flat, layer.kernels, strict=False):
        draw(place, kernel)
    rows[0, 0].set_title(layer.name, fontsize=8, loc="left")

plt.show()

# %%
# Many of these kernels look smooth, and some look like a blur or like the difference between one side and the other.
# The next step puts that impression into numbers.
#
# Fit a shape to each kernel
# --------------------------
#
# Eight shapes compete for each kernel: a blur (``smooth``), a point minus a multiple of the second differences of a
# blur (``sharpen``), and differences along x and along y (``dx``, ``dy``, and the one-sided ``dx+``, ``dx-``,
# ``dy+``, ``dy-``). Each of these *families* has a blur in it whose width is free. This width is called the *scale*
# and written sigma; sigma is a standard deviation in pixels, and a kernel has one along x and one along y. The fit
# also chooses a factor and a constant for each kernel.

fit = sk.fit(bank)
fit.to_pandas()[["layer", "channel", "family", "sigma_x", "sigma_y", "r2", "status"]].head(8)

# %%
# A scale of ``inf`` is not an error. It says that the blur is so wide that the kernel, which has only 7 taps along each
# axis, shows no end of it. The ``status`` of such a kernel is ``polynomial``, because inside the window the shape is
# then exactly a polynomial.
#
# The column ``r2`` says how well the shape fits. Subtract the mean from the kernel; the sum of squares of the result is
# the *energy* of the kernel. r2 is the share of this energy that the shape explains: 1 is a perfect fit, and 0 is no
# better than a constant. For one kernel it can be computed by hand:

kernels, models = bank.layers[0].kernels, fit.kernels().layers[0].kernels
channel = 0
error = (kernels[channel] - models[channel]).square().sum()
energy = (kernels[channel] - kernels[channel].mean()).square().sum()
print(f"r2 by hand {1 - error / energy:.4f}, from the fit {fit.r2[channel]:.4f}")

# %%
# What does a kernel with a given r2 look like? The pictures show the best, the median and the worst kernel of the
# network, and below each kernel the shape that was fitted to it. Three kernels of this network are *dead*, which means
# that their values are practically zero; dead kernels have no r2.

order = np.argsort(fit.r2)[: int((~fit.dead).sum())]
chosen = {"best": order[-1], "median": order[len(order) // 2], "worst": order[0]}
kernels = np.concatenate([layer.kernels for layer in bank])
models = np.concatenate([layer.kernels for layer in fit.kernels()])
figure, panels = plt.subplots(2, 3, figsize=(5, 3.6), layout="constrained")
for column, (word, place) in zip(panels.T, chosen.items(), strict=True):
    draw(column[0], kernels[place], f"{word}: r2 = {fit.r2[place]:.2f}")
    draw(column[1], models[place], f"fitted: {fit.family[place]}")

plt.show()

# %%
# Compare with noise
# ------------------
#
# The median r2 above is 0.71. Whether this value is high cannot be judged from the number alone. A flexible shape
# explains a part of any kernel, even of a kernel of random numbers, and a smooth shape explains a larger part of a
# smooth random kernel. So two *controls* are fitted in the same way, random kernels without anything that was learned:
#
# - *White noise*: independent random numbers with the mean and the energy of the kernel that they replace. The shapes
#   have to explain more of the kernels than of white noise, or the fit says nothing at all.
# - *Matched noise*: random kernels which are also as smooth and as wide as the kernels of the same layer. (Precisely:
#   their taps have the same covariance as the taps of the kernels of the layer.) What the shapes explain beyond matched
#   noise does not come from smoothness and width alone, and only this part is about shape.

white_bank, matched_bank = sk.white_noise_like(bank), sk.matched_noise_like(bank)
figure, panels = plt.subplots(3, 10, figsize=(8, 2.9), layout="constrained")
for row, source, name in zip(panels, (bank, matched_bank, white_bank), ("kernels", "matched", "white"), strict=True):
    for place, kernel in zip(row, source.layers[-1].kernels, strict=False):
        draw(place, kernel)
    row[0].set_title(name, fontsize=8, loc="left")

plt.show()

# %%
# Matched noise looks more like the kernels than white noise does, which is why matched noise is the stricter control.
# Now all three are fitted in the same way.

white, matched = sk.fit(white_bank), sk.fit(matched_bank)
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
bins = np.linspace(0, 1, 41)
for one, label, colour in ((fit, "kernels", "black"), (matched, "matched noise", "C1"), (white, "white noise", "0.6")):
    axes.hist(one.r2, bins, histtype="step", color=colour, label=f"{label}, median {one.r2.nanmedian():.2f}")
axes.set(xlabel="r2", ylabel="kernels")
axes.legend(frameon=False)
plt.show()

# %%
# The kernels are far from white noise: the eight shapes explain about six times as much of the kernels. The kernels are
# also explained better than matched noise (0.71 against 0.52), but more than half of what the shapes explain here is
# explained by smoothness and width alone. For the 7x7 kernels of MCUNet, a published network, the figures are 0.64 and
# 0.48.
#
# Has each layer been trained?
# ----------------------------
#
# *Formation* summarises the comparison in one number for each layer. It is the probability that the shapes explain
# more of a kernel than of noise, minus the probability that they explain less: 0 is noise, 1 is a layer in which every
# kernel is explained better than all noise. Each value has an interval of 95 %. White noise does not have to be passed,
# because ``sk.formation`` makes white noise of the same kernel sizes itself.

formation = sk.formation(fit, matched)
table = formation.to_pandas().set_index("layer")
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
places = np.arange(len(table))
for column, label, colour in (("formation", "beside white noise", "black"), ("beyond_matched", "matched noise", "C1")):
    ends = [table[column] - table[f"{column}_low"], table[f"{column}_high"] - table[column]]
    axes.errorbar(places, table[column], ends, fmt="o", capsize=3, color=colour, label=label)
axes.axhline(0, color="0.6", linewidth=1)
axes.set(xticks=places, xlabel="layer, from input to output", ylabel="formation", ylim=(-1.05, 1.05))
axes.legend(frameon=False, loc="lower left")
plt.show()
table[["formation", "formation_low", "formation_high", "beyond_matched", "beyond_matched_low", "beyond_matched_high"]]

# %%
# Compared with white noise every layer is formed: none of the three black intervals comes near 0. Compared with
# matched noise the values are lower, and the intervals of 32 kernels are wide, but none of the intervals holds 0. A
# layer whose orange interval holds 0 cannot be distinguished from random kernels of the same smoothness and width. With
# many layers, an interval that barely misses 0 is weak evidence: one in twenty intervals misses 0 by chance.

beyond = table["beyond_matched_low"] > 0
print(
    f"{beyond.sum()} of {len(table)} layers are explained better than matched noise: {', '.join(table.index[beyond])}"
)
print(f"the network is {formation.network.white.word} beside white noise")

# %%
# At which scales?
# ----------------
#
# The scales say how wide the blur in each kernel is. They can be infinite, so take medians and not means.

for name, one in (("kernels", fit), ("matched noise", matched), ("white noise", white)):
    sigma = one.sigma.numpy()
    wide = np.isinf(sigma).any(1).mean()
    print(f"{name:14} median sigma {np.nanmedian(sigma):.2f} pixels; {100 * wide:.0f} % have an infinite scale")

# %%
# Compare such figures with the controls as well. Infinite scales are as rare in the kernels as in matched noise, and
# far more frequent in white noise: this figure shows only that most kernels end inside the window. The median scale of
# the kernels is between the medians of both kinds of noise.
#
# Write a report
# --------------
#
# ``sk.write_report`` writes these figures and more into one file of HTML that needs no server: the mix of families, the
# scales and the residuals layer by layer, and every kernel together with its model. The command
# ``scalekeys analyze model.pth -o report/`` does everything on this page in one step.

folder = Path(tempfile.mkdtemp())
summary = sk.write_report(fit, white, matched, folder / "report.html")
print(f"{(folder / 'report.html').stat().st_size / 1e6:.1f} MB in one file")
print(
    f"explained: {100 * summary.quality.share_explained:.1f} % of the energy of the kernels, "
    f"{100 * summary.quality.matched_share_explained:.1f} % of matched noise, "
    f"{100 * summary.quality.white_share_explained:.1f} % of white noise"
)
