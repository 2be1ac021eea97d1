"""Pictures in folders and data sets: their classes, their batches, and what is wrong with them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from scalekeys.errors import DataError, MissingExtraError
from scalekeys.images import batches, open_images, open_unlabelled, sample
from scalekeys.images.preparation import Preprocessing

PREPARE = Preprocessing((4, 4), 1.0, (0.0,) * 3, (1.0,) * 3)


def write(path, value, side=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (value,) * 3).save(path)


@pytest.fixture
def tree(tmp_path):
    """Three classes, whose pictures have the values 10, 20 and 30 and more."""
    root = tmp_path / "tree"
    for number, name in enumerate(["cat", "dog", "owl"], start=1):
        for index in range(3):
            write(root / name / ("more" if index > 1 else "") / f"{index}.png", 10 * number + index)
    write(root / "cat" / ".hidden.png", 0)
    (root / "dog" / "notes.txt").write_text("not a picture")
    (root / ".cache").mkdir()
    return root


def contents(images, **options):
    """Return (value, class) of each picture."""
    found = [(batch, labels) for batch, labels in batches(images, PREPARE, size=2, **options)]
    values = torch.cat([batch[:, 0, 0, 0] for batch, _ in found]).mul(255).round().int().tolist()
    return list(zip(values, torch.cat([labels for _, labels in found]).tolist(), strict=True))


def test_classes_are_numbered_by_their_sorted_names(tree):
    images = open_images(str(tree))
    assert (images.classes, len(images)) == (3, 9)
    assert contents(images) == [(10 * (c + 1) + i, c) for c in range(3) for i in range(3)]


def test_folders_named_by_numbers_are_the_numbers(tmp_path):
    for name, value in (("7", 1), ("0102", 2), ("30", 3)):
        write(tmp_path / name / "a.jpg", value)
    images = open_images(str(tmp_path))
    assert images.classes is None
    assert sorted(label for _, label in contents(images)) == [7, 30, 102]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (json.dumps({"owl": 5, "cat": 900, "dog": 0, "more": 1}), [900, 0, 5]),
        ("dog Canis lupus\nmore\n\nowl\ncat tabby\n", [3, 0, 2]),
    ],
)
def test_numbers_come_from_a_file_of_labels(tree, tmp_path, text, numbers):
    (tmp_path / "labels").write_text(text)
    images = open_images(str(tree), labels=tmp_path / "labels")
    assert images.classes is None
    assert [label for _, label in contents(images)] == [number for number in numbers for _ in range(3)]


def test_pictures_without_classes(tree):
    write(tree / "top.png", 77)
    images = open_unlabelled(str(tree))
    assert sorted(value for value, _ in contents(images)) == [10, 11, 12, 20, 21, 22, 30, 31, 32, 77]


def data_set():
    datasets = pytest.importorskip("datasets")
    pictures = [Image.new("RGB", (4, 4), (value,) * 3) for value in (5, 6, 7)]
    features = datasets.Features(
        {"id": datasets.Value("int64"), "picture": datasets.Image(), "fine": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    return datasets.Dataset.from_dict({"id": [9, 9, 9], "picture": pictures, "fine": [2, 0, 1]}, features=features)


def test_saved_data_sets(tmp_path):
    rows = data_set()
    rows.save_to_disk(tmp_path / "rows")
    images = open_images(str(tmp_path / "rows"))
    assert images.classes == 3
    assert contents(images) == [(5, 2), (6, 0), (7, 1)]
    (tmp_path / "labels.json").write_text('{"a": 40, "b": 41, "c": 42}')
    numbered = open_images(str(tmp_path / "rows"), labels=tmp_path / "labels.json")
    assert numbered.classes is None
    assert contents(numbered) == [(5, 42), (6, 40), (7, 41)]
    assert [value for value, _ in contents(open_unlabelled(str(tmp_path / "rows")))] == [5, 6, 7]


def test_of_several_splits_the_one_for_evaluation(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = data_set()
    splits = datasets.DatasetDict({"train": rows.select([0]), "validation": rows.select([1, 2])})
    splits.save_to_disk(tmp_path / "splits")
    images = open_images(str(tmp_path / "splits"))
    assert images.label.endswith("splits (validation)")
    assert contents(images) == [(6, 0), (7, 1)]


def test_data_sets_with_plain_numbers_or_without_classes(tmp_path):
    rows = data_set()
    rows.remove_columns("fine").add_column("label", [3, 900, 1]).save_to_disk(tmp_path / "numbers")
    images = open_images(str(tmp_path / "numbers"))
    assert images.classes is None
    assert [label for _, label in contents(images)] == [3, 900, 1]
    rows.remove_columns("fine").save_to_disk(tmp_path / "none")
    with pytest.raises(DataError, match=r"needs a column of images and one of classes, .* it has 'id' and 'picture'"):
        open_images(str(tmp_path / "none"))


def test_data_sets_of_the_hub(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name, split):
        asked.append((name, split))
        if name == "org/none":
            raise ConnectionError("no way\nto the hub")
        return data_set()

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(open_images("hf:org/name:test")) == len(open_images("hf:org/name")) == 3
    assert asked == [("org/name", "test"), ("org/name", None)]
    with pytest.raises(DataError, match=r"^hf:org/none: can be loaded neither .* \(ConnectionError: no way\); check"):
        open_images("hf:org/none")


def test_batches_are_complete_and_in_order_however_they_are_read(tree):
    images = open_images(str(tree))
    expected = contents(images)
    assert contents(images, threads=1) == contents(images, threads=7) == expected
    assert contents(images, indices=[8, 0, 3]) == [expected[8], expected[0], expected[3]]
    assert [len(labels) for _, labels in batches(images, PREPARE, size=4)] == [4, 4, 1]


def test_a_sample_is_random_reproducible_and_without_repetition(tree):
    images = open_images(str(tree))
    chosen = sample(images, 5)
    assert chosen == sorted(set(chosen)) == sample(images, 5)
    assert len(chosen) == 5
    assert any(sample(images, 5, seed) != chosen for seed in range(1, 4))
    assert sample(images, None) == sample(images, 100) == list(range(9))


def test_a_broken_picture_is_named(tree):
    (tree / "dog" / "0.png").write_bytes((tree / "dog" / "0.png").read_bytes()[:40])
    (tree / "owl" / "0.png").write_text("an error page")
    for path, position in ((tree / "dog" / "0.png", 3), (tree / "owl" / "0.png", 6)):
        with pytest.raises(DataError, match=f"^{path}: cannot be read as an image .*; remove or replace it$"):
            open_images(str(tree))[position]
    with pytest.raises(DataError, match="cannot be read as an image"):
        contents(open_images(str(tree)))


def test_pictures_of_several_sizes_make_no_batch(tree):
    write(tree / "cat" / "0.png", 1, side=9)
    as_they_are = batches(open_images(str(tree)), lambda image: torch.from_numpy(np.array(image)), size=3)
    with pytest.raises(DataError, match=r"images of shapes \(4, 4, 3\) and \(9, 9, 3\), which make no batch; give --s"):
        next(as_they_are)


@pytest.mark.parametrize(
    ("kind", "suffix"), [("uint16", "png"), ("uint16", "tif"), ("int32", "tif"), ("float32", "tif")]
)
def test_a_picture_of_more_than_8_bits_is_refused(tree, kind, suffix):
    path = tree / "dog" / f"deep.{suffix}"
    Image.fromarray(np.full((8, 8), 1000, kind)).save(path)
    with pytest.raises(DataError, match=f"^{path}: has more than 8 bits .mode .*.; save it with 8$"):
        contents(open_images(str(tree)))


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ('{"cat": 0, "dog": 1}', "the labels say no number for the classes 'owl'; add them"),
        ('{"cat": "zero"}', 'must hold {"name": number} for each class, or a name on each line'),
        ('{"cat": 0', "is neither JSON nor a list of names"),
        (None, "labels: cannot be read"),
    ],
)
def test_a_bad_file_of_labels_is_one_sentence(tree, tmp_path, labels, match):
    if labels is not None:
        (tmp_path / "labels").write_text(labels)
    with pytest.raises(DataError, match=match):
        open_images(str(tree), labels=tmp_path / "labels")


def test_what_holds_no_pictures_is_one_sentence(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "without" / "class").mkdir(parents=True)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "dataset_info.json").write_text("{")
    for source, match in (
        ("nowhere", "nowhere: no such folder; give a folder with a folder of images for each class, or hf:NAME"),
        ("tree/cat/0.png", "0.png: is a file; give a folder"),
        ("empty", "empty: has no folders; give a folder with a folder"),
        ("without", r"without: the folders class hold no images \(\.jpg"),
        ("damaged", "damaged: cannot be read as a saved data set"),
    ):
        with pytest.raises(DataError, match=match):
            open_images(str(tmp_path / source))
    with pytest.raises(DataError, match="empty: holds no images; give a folder of images, at any depth"):
        open_unlabelled(str(tmp_path / "empty"))


def test_a_missing_extra_is_one_sentence(tree, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"^PIL is not installed; pip install 'scalekeys\[images\]' brings it$"):
        open_images(str(tree))
