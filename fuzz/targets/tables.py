"""Targets that are no weights: filters as arrays and tables, recipes, snapshots of trainings, and atlases."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import save_file

import scalekeys as sk
from fuzz.case import Files, Target
from fuzz.mutators import of_one, raw, tables, tree
from fuzz.mutators.archives import zip_members
from scalekeys.checkpoints import read_filters, write_filters
from scalekeys.training import Recipe, read_recipe
from scalekeys.training.recipe import RECIPES
from scalekeys.training.snapshots import Snapshot, read_snapshot, write_snapshot

_BYTES = of_one(raw.any_change)


def _arrays() -> Sequence[Files]:
    samples = []
    for kind in ("f8", "f4", "i8"):
        buffer = io.BytesIO()
        np.save(buffer, np.arange(98).reshape(2, 7, 7).astype(kind))
        samples.append({"a.npy": buffer.getvalue()})
    return samples


def _csv() -> Sequence[Files]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        write_filters(sk.master_keys().double(), path)
        lines = "\n".join(",".join(map(str, row)) for row in sk.master_keys().flatten(1).tolist())
        return [{"a.csv": path.read_bytes()}, {"a.csv": lines.encode()}]


def _read_filters(name: str) -> Target:
    def use(folder: Path, _random: Random) -> None:
        read_filters(folder / "input" / name)

    changes = tables.npy_header if name.endswith(".npy") else tables.csv_cell
    samples = _arrays if name.endswith(".npy") else _csv
    return Target(Path(name).suffix[1:], samples, (_BYTES, of_one(changes)), use)


def _recipes() -> Sequence[Files]:
    return [{path.name: path.read_bytes() for path in sorted(RECIPES.glob("*.yaml"))}]


def _read_recipe(folder: Path, random: Random) -> None:
    files = sorted((folder / "input").glob("*.yaml"))
    read_recipe(random.choice(files), random.choice(_OVERRIDES))


_OVERRIDES: tuple[list[str], ...] = (
    *(
        [],
        [],
        [],
        ["loop.epochs=3"],
        ["loop.epochs=1e999"],
        ["network.widths=[1, x]"],
        ["x=1"],
        ["loop"],
        ["=1"],
        ["seed=[[["],
    ),
    *(
        ["optimizer.betas=!!python/tuple [1]"],
        ["loop.batch=99999999999999999999999"],
        ["data.size=\x00"],
        ["a.b.c.d=1"],
    ),
)


def _snapshots() -> Sequence[Files]:
    with tempfile.TemporaryDirectory() as folder:
        states = {"network": {"w": torch.ones(3)}, "optimizer": {"state": {0: torch.zeros(2)}, "param_groups": [1]}}
        recipe = read_recipe("builtin:cifar_convnext_free")
        row = dict.fromkeys(("epoch", "train_loss", "seconds", "images_per_second"), 1.0)
        write_snapshot(Snapshot(recipe, [row], states), {"w": torch.ones(3)}, Path(folder))
        return [{path.name: path.read_bytes() for path in Path(folder).iterdir()}]


def _read_snapshot(folder: Path, _random: Random) -> None:
    recipe: Recipe = read_recipe("builtin:cifar_convnext_free")
    read_snapshot(folder / "input", recipe)


def _atlases() -> Sequence[Files]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = []
        for number in range(2):
            sources.append(folder / f"net{number}.safetensors")
            save_file({"dw.weight": torch.full((3, 1, 3, 3), float(number))}, sources[-1])
        sk.atlas.build(sources, folder / "atlas")
        save_file({"dw.weight": torch.full((3, 1, 3, 3), 5.0)}, folder / "new.safetensors")
        files = [path for path in folder.rglob("*") if path.is_file() and path not in sources]
        return [{str(path.relative_to(folder)): path.read_bytes() for path in files}]


def _ask_atlas(folder: Path, random: Random) -> None:
    atlas = folder / "input" / "atlas"
    if random.random() < 0.5:
        query = random.choice(
            ("select * from filters", "select * from networks", "select * from failures", *sk.atlas.NAMED)
        )
        sk.atlas.open(atlas).sql(query).to_arrow()
    else:
        sk.atlas.build([folder / "input" / "new.safetensors"], atlas)


TARGETS = (
    _read_filters("a.npy"),
    _read_filters("a.csv"),
    Target("recipe", _recipes, (_BYTES, of_one(tree.yaml_text), of_one(tree.yaml_text)), _read_recipe),
    Target("snapshot", _snapshots, (_BYTES, of_one(zip_members, ".pt")), _read_snapshot),
    Target(
        "atlas",
        _atlases,
        (_BYTES, of_one(tree.json_text, ".json", ".jsonl"), of_one(tables.parquet_column, ".parquet")),
        _ask_atlas,
    ),
)
