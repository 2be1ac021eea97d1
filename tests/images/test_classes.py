"""The numbers of classes are the same for training and evaluation, and nothing of a folder is left out in silence."""

import os

import pytest
from PIL import Image

from scalekeys.errors import DataError
from scalekeys.images import open_images
from scalekeys.images.classes import class_numbers
from scalekeys.training import read_recipe
from scalekeys.training.data import open_data


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def seen(folder, recipe):
    """Return the class of each picture in training and in evaluation, by the name of its folder."""
    data = open_data(read_recipe(recipe, [f"data.source={folder}"]))
    trained = zip(data.train.images.files, data.train.labels.tolist(), strict=True)
    images = open_images(str(folder / "train"))
    evaluated = zip(images.files, images.numbers, strict=True)
    return data.classes, *({path.parent.name: label for path, label in pairs} for pairs in (trained, evaluated))


@pytest.mark.parametrize(
    ("names", "numbers", "count"),
    [
        (("0", "1", "2", "10", "9"), (0, 1, 2, 10, 9), 11),
        (("007", "3"), (7, 3), 8),
        (("n02", "n01", "n10"), (1, 0, 2), 3),
        (("10", "9", "x"), (0, 1, 2), 3),
    ],
)
def test_training_and_evaluation_number_folders_alike(tmp_path, names, numbers, count):
    for name in names:
        write(tmp_path / "train" / name / "a.png")
        write(tmp_path / "val" / name / "a.png")
    (tmp_path / "recipe.yaml").write_text("data: {source: x, size: 4}")
    classes, trained, evaluated = seen(tmp_path, tmp_path / "recipe.yaml")
    assert trained == evaluated == dict(zip(names, numbers, strict=True))
    assert len(classes) == count
    assert [classes[number].lstrip("0") or "0" for number in numbers] == [name.lstrip("0") or "0" for name in names]


def test_a_part_of_the_classes_keeps_its_numbers_when_it_is_tested(tmp_path):
    for part, names in (("train", ("1", "5", "12")), ("val", ("012", "5"))):
        for name in names:
            write(tmp_path / part / name / "a.png")
    (tmp_path / "recipe.yaml").write_text(f"data: {{source: '{tmp_path}', size: 4}}")
    data = open_data(read_recipe(tmp_path / "recipe.yaml"))
    assert sorted(data.test.labels.tolist()) == [5, 12]
    write(tmp_path / "val" / "6" / "a.png")
    with pytest.raises(DataError, match="6: the training images have no class of this name"):
        open_data(read_recipe(tmp_path / "recipe.yaml"))


@pytest.mark.parametrize(
    ("names", "match"),
    [(("7", "07"), "'07' and '7' are both class 7"), (("1", "9" * 7), "'9999999' would be a class of that number")],
)
def test_numbers_that_clash_or_are_too_large_are_refused(names, match):
    with pytest.raises(DataError, match=match):
        class_numbers(names, "images")


def to_pipe(path):
    os.mkfifo(path)


def to_nothing(path):
    path.symlink_to("nowhere")


def to_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [to_pipe, to_nothing, to_device])
def test_what_is_called_a_picture_and_is_no_file_is_named(tmp_path, make):
    write(tmp_path / "cat" / "a.png")
    make(tmp_path / "cat" / "b.png")
    with pytest.raises(DataError, match=r"b\.png: is a link to nothing, a pipe or a device"):
        open_images(str(tmp_path))


def test_links_to_folders_are_followed_once_and_hidden_folders_are_not(tmp_path):
    write(tmp_path / "all" / "cat" / "a.png")
    write(tmp_path / "elsewhere" / "b.png")
    write(tmp_path / "all" / "cat" / ".hidden" / "c.png")
    (tmp_path / "all" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "all" / "cat")
    assert [path.name for path in open_images(str(tmp_path / "all")).files] == ["a.png", "b.png"]
    (tmp_path / "all" / "dog").symlink_to("nowhere")
    with pytest.raises(DataError, match="dog: is a link to nothing"):
        open_images(str(tmp_path / "all"))


@pytest.mark.parametrize(
    "text", ['{"cat": true}', '{"cat": -1}', '{"cat": 1e999}', '{"cat": ' + "[" * 100_000, "cat\ncat\n"]
)
def test_a_hostile_file_of_labels_is_one_sentence(tmp_path, text):
    write(tmp_path / "tree" / "cat" / "a.png")
    (tmp_path / "labels").write_text(text)
    with pytest.raises(DataError, match=r"labels: (must hold|is neither|has two lines)"):
        open_images(str(tmp_path / "tree"), labels=tmp_path / "labels")
