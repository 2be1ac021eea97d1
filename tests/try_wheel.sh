#!/usr/bin/env bash
# Installs a wheel into a fresh environment and runs the README's commands outside the checkout: [PYTHON=...] [CONSTRAINTS=...] tests/try_wheel.sh WHEEL
set -euo pipefail
wheel=$(realpath "$1")
constraints=$(realpath "${CONSTRAINTS:-$(dirname "$0")/../constraints.txt}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/python -m pip install --quiet --disable-pip-version-check --constraint "$constraints" "$wheel[train,onnx]"
export PATH="$folder/env/bin:$PATH"

scalekeys --version
python -m scalekeys --help > help.txt
scalekeys analyze builtin:denoiser -o first-report/
scalekeys analyze builtin:cifar-convnext -o report-json/ --json > figures.json
scalekeys keys builtin:cifar-convnext -k 4 -o keys/
scalekeys paper -o article/ --json paper.json
scalekeys demo -o demo/

python - <<'PYTHON'
import numpy as np
import torch
from pathlib import Path
from PIL import Image
from scalekeys.training.cifar_convnext import CLASSES, CifarConvNeXt

torch.save(CifarConvNeXt(CLASSES).state_dict(), "model.pth")
network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 7, padding=3, groups=8), torch.nn.Conv2d(8, 8, 1))
torch.nn.init.zeros_(network[1].weight[3])
network[1].weight.data[:, :, [0, -1]] = network[1].weight.data[..., [0, -1]] = 0
torch.save(network, "wide.pt")
with open("nets.py", "w") as file:
    file.write("import torch\ndef build():\n    return torch.load('wide.pt', weights_only=False)\n")

draw = np.random.default_rng(0)
for part in ("train", "val"):
    for number in range(40):
        folder = Path("images", part, str(number % 2))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
PYTHON
scalekeys analyze model.pth -o model-report/
scalekeys check model.pth
scalekeys check nets.py:build --images images/val --size 16
scalekeys replace model.pth -o new.pth --model sparse6
scalekeys compress builtin:cifar-convnext --data images/val --budget 0.5 --model jet1 --limit 20 -o small.pth
scalekeys separate nets.py:build --shape 3x16x16 --rank 1 -o separated.onnx
scalekeys crop nets.py:build -o cropped.pth
scalekeys prune nets.py:build --shape 3x16x16 --multiple-of 1 -o pruned.onnx
scalekeys evaluate builtin:cifar-convnext --data images/val
scalekeys train builtin:cifar_convnext_learned_scales data.source=images loop.epochs=1 loop.batch=8 -o runs/scales
scalekeys compare runs/scales -o compared/
scalekeys atlas build builtin:cifar-convnext model.pth -o atlas/
scalekeys atlas query atlas/ r2-by-kernel-size
scalekeys atlas report atlas/ -o atlas-report/

python - <<'PYTHON'
import torch
import scalekeys as sk
from nets import build

network, batches = build(), [torch.randn(20, 3, 16, 16)]
bank = sk.extract("model.pth")
fit = sk.fit(bank)
print(fit.to_pandas())
print(sk.check(network, images=batches).advice)
replaced = sk.recalibrate(sk.replace(network, sk.fit(sk.extract(network), "sparse6")), batches, network)
labelled_batches = [(batches[0], torch.zeros(20, dtype=torch.long))]
flat = [torch.nn.Sequential(each, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()) for each in (replaced, network)]
print(sk.evaluate(flat[0], labelled_batches).difference(sk.evaluate(flat[1], labelled_batches)))
print(sk.scalespace.discrete_gaussian(torch.tensor([0.0, 0.5, 2.0]), radius=4))
PYTHON
echo "the wheel stands alone"
