"""
Compare many checkpoints with an atlas
======================================

When do the kernels of a network take shape during a training? To answer such a question, many checkpoints have to be
compared. An *atlas* is a folder of tables that holds one row for each kernel of each checkpoint, with the shape that
was fitted to the kernel and with both noise controls. It is queried in SQL. In this tutorial you will save the
checkpoints of a short training, build an atlas of the checkpoints, and query when the kernels leave their random start.

`The first tutorial <plot_1_explain_a_network.html>`_ explains the words *family*, *r2*, *white noise* and *matched
noise*.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import scalekeys as sk

# %%
# Checkpoints of one training
# ---------------------------
#
# Any set of files will do: checkpoints of one training, of several seeds, or networks from a hub. Here a small network
# for the digits of scikit-learn is trained for ten epochs and saved after some of them.

bunch = load_digits()
images = F.interpolate(torch.from_numpy(bunch.images).float()[:, None] / 8 - 1, size=16, mode="bilinear")
labels = torch.from_numpy(bunch.target).long()
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
test, train = order[:500], order[500:]


class Block(nn.Module):
    """Depthwise convolution, batch norm, and two layers that mix channels, added to the input."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding="same", groups=width, bias=False)
        mix = nn.Conv2d(width, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1)
        self.rest = nn.Sequential(nn.BatchNorm2d(width), *mix)

    def forward(self, x):
        return x + self.rest(self.depthwise(x))


folder = Path(tempfile.mkdtemp())
torch.manual_seed(0)
stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 32, 1))
network = nn.Sequential(stem, Block(32), Block(32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
depthwise = [p for name, p in network.named_parameters() if "depthwise" in name]
others = [p for name, p in network.named_parameters() if "depthwise" not in name]
# A strong weight decay on the kernels removes the random numbers that they start with, and keeps what gradients renew.
optimizer = torch.optim.AdamW([{"params": depthwise, "weight_decay": 5.0}, {"params": others}], lr=4e-3)
rows = ["source,epoch,accuracy"]
for epoch in range(13):
    if epoch % 3 == 0:
        accuracy = sk.evaluate(network, [(images[test], labels[test])]).top1
        torch.save(network.state_dict(), folder / f"epoch{epoch:02}.pth")
        rows.append(f"epoch{epoch:02}.pth,{epoch},{accuracy:.4f}")
    network.train()
    for batch in train[torch.randperm(len(train))].split(64):
        optimizer.zero_grad()
        F.cross_entropy(network(images[batch]), labels[batch], label_smoothing=0.1).backward()
        optimizer.step()

# %%
# A list in the folder of the checkpoints describes them: the column ``source`` names the files, and all other columns
# become metadata that can be queried. Here the metadata are the epoch and the accuracy.

(folder / "checkpoints.csv").write_text("\n".join(rows) + "\n")
print((folder / "checkpoints.csv").read_text())

# %%
# Build the atlas
# ---------------
#
# Sources are files, patterns such as ``"runs/**/*.pth"``, lists, and names such as ``"timm:convnext*"``. The ConvNeXt
# that comes with the package is added to the checkpoints, as an example of a network that was trained for longer. A
# second run of the same call computes only what is new; files that cannot be read become rows of a table of failures.

summary = sk.atlas.build([str(folder / "checkpoints.csv"), "builtin:cifar-convnext"], folder / "atlas")
print(summary)
atlas = sk.atlas.open(folder / "atlas")

# %%
# Query in SQL
# ------------
#
# There are two main tables: ``filters`` has one row for each kernel, ``networks`` one row for each checkpoint with its
# metadata. ``filters`` also has each figure for white noise (``r2_white``) and for matched noise (``r2_matched``) in
# the place of the kernel.

QUESTION = """
    select model, epoch, accuracy,
           count(*) as kernels,
           median(r2) as r2,
           median(r2_matched) as matched,
           median(r2_white) as white
    from filters join networks using (source, model)
    group by model, epoch, accuracy
    order by epoch
"""
table = atlas.sql(QUESTION).to_pandas()
table.round(3)

# %%
# Medians hide how much the kernels of one checkpoint differ from each other. The next query computes the difference
# between each kernel and the noise in its place, and gives the mean of these differences with an interval of 95 %
# (1.96 standard errors, with the kernels taken as independent).

DIFFERENCES = """
    select epoch,
           avg(r2 - r2_white) as over_white, 1.96 * stddev(r2 - r2_white) / sqrt(count(*)) as white_error,
           avg(r2 - r2_matched) as over_matched, 1.96 * stddev(r2 - r2_matched) / sqrt(count(*)) as matched_error
    from filters join networks using (source)
    where epoch is not null
    group by epoch order by epoch
"""
differences = atlas.sql(DIFFERENCES).to_pandas()
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
training = table.dropna(subset="epoch")
for column, colour in (("r2", "black"), ("matched", "C1"), ("white", "0.6")):
    left.plot(training.epoch, training[column], "o-", color=colour, label=column)
left.set(xlabel="epoch", ylabel="median r2", ylim=(0, None))
left.legend(frameon=False)
for control, colour in (("white", "0.6"), ("matched", "C1")):
    errors = differences[f"{control}_error"]
    right.errorbar(
        differences.epoch, differences[f"over_{control}"], errors, fmt="o-", capsize=3, color=colour, label=control
    )
right.axhline(0, color="black", linewidth=0.8)
right.set(xlabel="epoch", ylabel="mean r2 of kernels minus r2 of noise")
right.legend(frameon=False)
plt.show()

# %%
# Read the two controls one after the other. At epoch 0 the kernels *are* random numbers, so they must not differ from
# either kind of noise; this tests the method itself. Later the kernels are explained better than white noise, because
# they become smooth. Matched noise decides whether they also take shapes beyond their smoothness:

for row in differences.itertuples():
    low, high = row.over_matched - row.matched_error, row.over_matched + row.matched_error
    verdict = "no more than" if low <= 0 else "more than"
    print(
        f"epoch {row.epoch:2}: {verdict} matched noise ({row.over_matched:+.3f}, 95 % from {low:+.3f} to {high:+.3f})"
    )

# %%
# Five checkpoints are compared here, so one interval that barely misses 0 would be weak evidence. In addition, matched
# noise is drawn separately for each checkpoint: with 64 kernels a difference of a few hundredths is within the error.
#
# Write a report
# --------------
#
# Some queries have names (``sk.atlas.NAMED``). A report shows the networks, the scales over depth, the mix of families
# and correlations with the metadata; all tables behind the report are written as CSV.

print(", ".join(sk.atlas.NAMED))
atlas.sql(sk.atlas.NAMED["r2-by-kernel-size"].sql).to_pandas().round(3)

# %%
sk.write_atlas_report(atlas, folder / "report")
print(*sorted(path.name for path in (folder / "report").iterdir()), sep="\n")

# %%
# The same on the command line: ``scalekeys atlas build checkpoints.csv -o atlas/``, ``scalekeys atlas query atlas/
# "select ..."`` and ``scalekeys atlas report atlas/ -o report/``.
