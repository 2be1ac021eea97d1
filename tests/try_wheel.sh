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
scalekeys analyze builtin:master-keys -o report/
scalekeys analyze builtin:cifar-convnext -o report-json/ --json > figures.json
scalekeys check builtin:cifar-convnext
scalekeys keys builtin:cifar-convnext -k 4 -o keys/
scalekeys paper -o article/ --json paper.json
scalekeys demo -o demo/

python - <<'PYTHON'
import torch
import scalekeys as sk
from scalekeys.training.cifar_convnext import CLASSES, CifarConvNeXt

torch.save(CifarConvNeXt(CLASSES).state_dict(), "model.pth")
network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 3, groups=8), torch.nn.Conv2d(8, 8, 1))
torch.nn.init.zeros_(network[1].weight[3])
torch.save(network, "dead.pt")
with open("nets.py", "w") as file:
    file.write("import torch\ndef build():\n    return torch.load('dead.pt', weights_only=False)\n")
print(sk.scalespace.discrete_gaussian(torch.tensor([0.0, 0.5, 2.0]), radius=4))
PYTHON
scalekeys replace model.pth -o new.pth --model sparse6
scalekeys prune nets.py:build --shape 3x16x16 --multiple-of 1 -o small.onnx
scalekeys atlas build builtin:cifar-convnext model.pth -o atlas/
scalekeys atlas query atlas/ r2-by-kernel-size
scalekeys atlas report atlas/ -o atlas-report/

python - <<'PYTHON'
import numpy as np
from pathlib import Path
from PIL import Image

draw = np.random.default_rng(0)
for part in ("train", "val"):
    for number in range(40):
        folder = Path("images", part, str(number % 2))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
PYTHON
scalekeys train builtin:cifar_convnext_learned_scales data.source=images loop.epochs=1 loop.batch=8 -o runs/scales
scalekeys evaluate builtin:cifar-convnext --data images/val
echo "the wheel stands alone"
