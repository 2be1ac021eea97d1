"""The script that trains a denoiser: what it writes, that it goes on where it stopped, and what it refuses."""

import csv
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import scalekeys as sk

SMALL = ("--kernel-size", "3", "--width", "4", "--blocks", "1", "--steps", "10", "--batch", "2", "--crop", "16")


@pytest.fixture
def run(scripts, monkeypatch):
    import denoiser

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["denoiser.py", "train", *map(str, arguments)])
        denoiser.main()

    return command


@pytest.fixture
def pictures(tmp_path):
    """A folder of three pictures of one grey edge each."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        pixels = np.full((24, 96), 60, dtype=np.uint8)
        pixels[4 * number :] = 180
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_weights_with_their_settings_and_a_log_beside_them(run, pictures, tmp_path):
    run("--data", pictures, *SMALL, "--out", tmp_path / "a.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.safetensors", "pictures"]
    assert len(sk.extract(tmp_path / "a.safetensors")) == 4
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["settings"])
    assert (settings["data"], settings["kernel_size"], settings["noise"]) == ("pictures", 3, [0.1, 0.1])
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, 11))
    assert float(rows[0]["psnr_noisy"]) == pytest.approx(20, abs=0.6)  # 20 log10(1 / 0.1)
    assert float(rows[0]["psnr_gaussian"]) > float(rows[0]["psnr_noisy"])


def test_an_interrupted_training_goes_on_to_the_same_weights(run, pictures, tmp_path):
    run("--data", pictures, *SMALL, "--out", tmp_path / "whole.safetensors")
    from denoiser_sections.loop import Settings, train
    from denoiser_sections.pictures import read_pictures

    settings = Settings(str(pictures), 3, 4, 1, steps=10, batch=2, crop=16)
    stopped = train(settings, read_pictures(str(pictures), 1, 16), tmp_path / "parts.safetensors")
    assert [next(stopped)["step"] for _ in range(4)] == [1, 2, 3, 4]
    stopped.close()
    with pytest.raises(SystemExit, match="of a training with another weight_decay; remove it"):
        run("--data", pictures, *SMALL, "--weight-decay", 1, "--out", tmp_path / "parts.safetensors")
    run("--data", pictures, *SMALL, "--out", tmp_path / "parts.safetensors")
    whole, parts = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not (tmp_path / "parts.part").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--data", "nowhere"), "nowhere: is neither a folder of pictures, nor an archive .npz, nor sample_images"),
        (("--data", "nowhere.npz"), "nowhere.npz: cannot be read as an archive of JPEG pictures"),
        (("--crop", "26"), "a part to train on has a side of 24 pixels; give --crop 24 or less"),
        (("--kernel-size", "4"), "--kernel-size 4: give an odd side"),
        (("--crop", "15"), "--crop 15: give an even number, at least the side of the kernels"),
        (("--noise", "-1"), "--noise -1: give one standard deviation above 0, or the ends of a range"),
        (("--steps", "0"), "--steps 0: give a number above 0"),
        (("--weight-decay", "-1"), "--weight-decay -1: give 0 or more"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(run, pictures, tmp_path, arguments, sentence):
    with pytest.raises(SystemExit) as refused:
        run("--data", pictures, *SMALL, "--out", tmp_path / "a.safetensors", *arguments)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("a*"))


def test_an_empty_folder_is_refused(run, tmp_path):
    with pytest.raises(SystemExit, match="holds no pictures"):
        run("--data", tmp_path, *SMALL, "--out", tmp_path / "a.safetensors")
