"""``scalekeys replace`` as a user runs it: a process, its output, its exit status, and the file it leaves."""

import json
import re
from functools import partial
from inspect import signature
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from command_line import loaded, run
from safetensors.torch import load_file, save_file
from torch import nn

import scalekeys as sk
from scalekeys.cli.commands.replace import replace as verb
from scalekeys.cli.show.cells import Terminal
from scalekeys.cli.show.changed import print_models
from scalekeys.filters import replacement
from scalekeys.fitting import CRITERIA
from scalekeys.fitting.spec import Scales
from scalekeys.paper import method_templates
from scalekeys.scalespace import DISCRETIZATIONS
from scalekeys.training.network_source import open_network


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = {
        "stem.dw.weight": torch.randn(16, 1, 3, 3, generator=generator),
        "blocks.0.dw.weight": torch.randn(32, 1, 5, 5, generator=generator).half(),
        "blocks.0.pw.weight": torch.randn(32, 16, 1, 1, generator=generator),
    }
    save_file(state, tmp_path / "net.safetensors")
    torch.save({"params": state, "params_ema": {key: value + 1 for key, value in state.items()}}, tmp_path / "net.pth")
    return tmp_path


@pytest.fixture
def call(folder):
    """Run the verb in this folder."""
    return partial(run, "replace", cwd=folder)


def rows(text):
    """Return the cells of the table by model."""
    lines = [re.split(" {2,}", line.strip()) for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if len(cells) == 5}


def test_it_writes_a_copy_and_says_what_is_in_it(folder, call):
    done = call("net.safetensors", "-o", "new.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert "net: 48 of 48 depthwise filters in 2 layers are replaced" in done.stdout
    chosen = sk.replacement(sk.fit(sk.extract(folder / "net.safetensors"), "jet2"))
    expected = chosen.to_pandas().iloc[0]
    assert rows(done.stdout)["jet2"] == ["48", f"{expected.median_r2:.3f}", "432", "944"]
    assert "depthwise parameters: 944 before, 432 now (45.8 %)" in done.stdout
    assert "\nwritten: new.safetensors\nload:    from scalekeys.checkpoints import load_into; " in done.stdout
    before, after = load_file(folder / "net.safetensors"), load_file(folder / "new.safetensors")
    for layer in chosen.filters:
        key = f"{layer.name}.weight"
        assert torch.equal(after[key][:, 0], layer.kernels.to(before[key].dtype))
    assert torch.equal(after["blocks.0.pw.weight"], before["blocks.0.pw.weight"])
    assert sorted(path.name for path in folder.iterdir()) == ["net.pth", "net.safetensors", "new.safetensors"]


def test_a_narrow_terminal_cuts_no_number(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_models(Terminal(), replacement(sk.fit(sk.master_keys())))
    assert capsys.readouterr().out.splitlines()[0].split() == ["model", "filters", "median", "r2", "numbers", "before"]


def test_layers_filters_and_criteria_can_be_chosen(folder, call):
    options = ["--model", "ideal8", "--criterion", "l1", "--scales", "common", "--min-r2", "0.3", "--json"]
    done = call("net.safetensors", "-o", "new.weights", *options, "--keep", "stem*", "--layers", "*")
    assert (done.returncode, done.stderr) == (0, "")
    fit = sk.fit(sk.extract(folder / "net.safetensors"), criterion="l1", scales="common")
    chosen = sk.replacement(fit, keep=["stem*"], min_r2=0.3)
    assert 0 < chosen.replaced.sum() < 32
    found = json.loads(done.stdout)
    assert found["models"] == json.loads(json.dumps(chosen.to_pandas().to_dict("records")))
    assert (found["filters"], found["replaced"]) == (48, int(chosen.replaced.sum()))
    assert (found["taps"], found["numbers"]) == (944, int(chosen.numbers.sum()))
    assert (found["source"], found["output"], found["notes"]) == ("net.safetensors", "new.weights", [])
    assert (found["model"], found["criterion"], found["scales"]) == ("ideal8", "l1", "common")


def test_a_discretization_can_be_chosen(folder, call):
    options = ["--model", "smooth", "--discretization", "integrated", "--json"]
    done = call("net.safetensors", "-o", "new.safetensors", *options)
    assert (done.returncode, json.loads(done.stdout)["discretization"]) == (0, "integrated")
    fit = sk.fit(sk.extract(folder / "net.safetensors"), "smooth", discretization="integrated")
    after = load_file(folder / "new.safetensors")
    for layer in sk.replacement(fit).filters:
        weight = after[f"{layer.name}.weight"]
        assert torch.equal(weight[:, 0], layer.kernels.to(weight.dtype))


def test_one_of_nested_weights_is_changed_and_named(folder, call):
    done = call("net.pth", "-o", "new.pth", "--model", "keys", "--weights", "params")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "note: weights are read from the entry 'params'; the file also holds 'params_ema' (choose with --weights)"
        in done.stdout
    )
    assert "note: only 'params' is changed, not 'params_ema'" in done.stdout
    assert set(rows(done.stdout)) - {"model"} <= set(sk.MASTER_KEY_FAMILIES)
    before, after = (torch.load(folder / name, weights_only=True) for name in ("net.pth", "new.pth"))
    assert all(torch.equal(before["params_ema"][key], after["params_ema"][key]) for key in before["params_ema"])
    assert not torch.equal(before["params"]["stem.dw.weight"], after["params"]["stem.dw.weight"])


def test_keys_that_were_found_can_be_used(folder, call):
    assert run("keys", "net.pth", "-o", "keys", "-k", 3, "--restarts", 1, "--no-curve", cwd=folder).returncode == 0
    for name in ("keys/keys.npy", "keys/keys.csv"):
        done = call("net.pth", "-o", "new.pth", "--model", name, "--force")
        assert (done.returncode, done.stderr) == (0, "")
        assert set(rows(done.stdout)) - {"model"} <= {"key 0", "key 1", "key 2"}
    keys = torch.from_numpy(np.load(folder / "keys" / "keys.npy"))
    expected = sk.replacement(sk.assign_keys(sk.extract(folder / "net.pth"), keys)).filters
    for layer, other in zip(sk.extract(folder / "new.pth"), expected, strict=True):
        assert torch.equal(layer.kernels, other.kernels.to(torch.float16 if "blocks" in layer.name else None).float())


@pytest.mark.parametrize("source", ["net.safetensors", "net.pth", "whole.pt", "builtin:cifar-convnext"])
def test_the_copy_is_loaded_as_it_is_said(folder, call, source):
    if source.startswith("builtin:"):
        network = open_network(source).module
    else:
        small = {"dw": nn.Conv2d(16, 16, 3, groups=16, bias=False)}
        block = {"dw": nn.Conv2d(32, 32, 5, groups=32, bias=False), "pw": nn.Conv2d(16, 32, 1, bias=False)}
        network = nn.ModuleDict({"stem": nn.ModuleDict(small), "blocks": nn.ModuleDict({"0": nn.ModuleDict(block)})})
        torch.save(network, folder / "whole.pt")
    output = "new.safetensors" if source.endswith(".safetensors") else "new.pt"
    done = call(source, "-o", output, "--model", "noise")
    assert (done.returncode, done.stderr) == (0, "")
    network = loaded(done, network, folder)
    for layer in sk.extract(folder / output):
        assert torch.equal(network.get_submodule(layer.name).weight[:, 0], layer.kernels)


def by_rule(filters, candidates):
    """What stands for each filter by the paper's rule, in the plainest way."""
    units = candidates.flatten(1) - candidates.flatten(1).mean(1, keepdim=True)
    units = units / units.norm(dim=1, keepdim=True)
    found = []
    for y in filters.double().flatten(1):
        estimates = (units @ y)[:, None] * units + y.mean()
        found.append(estimates[(y - estimates).norm(dim=1).argmin()])
    return torch.stack(found).view_as(filters)


def test_filters_of_a_supervised_network_choose_those_of_a_masked_autoencoder(folder, call):
    """Sparse convolutions of an encoder hold a kernel as (49, channels), by columns; its decoder is ordinary."""
    generator = torch.Generator().manual_seed(3)
    sizes = {"stages.0.0": 8, "stages.1.0": 16}
    encoder = {
        f"encoder.{name}.dwconv.{part}": torch.randn(shape, generator=generator)
        for name, width in sizes.items()
        for part, shape in (("kernel", (49, width)), ("bias", (1, width)))
    }
    others = {
        "encoder.stages.0.0.pwconv1.linear.weight": torch.randn(32, 8, generator=generator),
        "encoder.stages.0.0.grn.gamma": torch.randn(1, 32, generator=generator),
        "encoder.downsample_layers.1.1.kernel": torch.randn(4, 8, 16, generator=generator),
        "mask_token": torch.randn(1, 16, 1, 1, generator=generator),
        "decoder.0.dwconv.weight": torch.randn(16, 1, 7, 7, generator=generator),
    }
    torch.save({"model": encoder | others}, folder / "fcmae.pt")
    supervised = {
        f"{name}.dwconv.weight": torch.randn(width, 1, 7, 7, generator=generator) for name, width in sizes.items()
    }
    torch.save({"model": supervised, "args": None}, folder / "supervised.pt")
    options = ["--chosen-from", "supervised.pt", "--model", "method:B", "-o", "out.pt"]
    done = call("fcmae.pt", *options)
    assert done.returncode == 0, done.stderr
    assert "24 of 40 depthwise filters in 3 layers are replaced, chosen by those of supervised.pt" in done.stdout
    after = torch.load(folder / "out.pt", weights_only=True)["model"]
    for name in sizes:
        expected = by_rule(supervised[f"{name}.dwconv.weight"][:, 0], method_templates("B"))
        stored = after.pop(f"encoder.{name}.dwconv.kernel")
        for column in range(7):
            for row in range(7):
                torch.testing.assert_close(stored[7 * column + row].double(), expected[:, row, column].double())
    unchanged = {key: value for key, value in (encoder | others).items() if not key.endswith("dwconv.kernel")}
    assert sorted(after) == sorted(unchanged)
    assert all(torch.equal(after[key], value) for key, value in unchanged.items())
    found = json.loads(call("fcmae.pt", *options, "--force", "--json").stdout)
    assert (found["chosen_from"], found["replaced"]) == ("supervised.pt", 24)
    done = call("fcmae.pt", *options, "--force", "--layers", "decoder*")
    assert done.stderr.startswith(
        "scalekeys: supervised: has no depthwise layer 'decoder.0.dwconv' of 16 filters of 7x7, as"
    )


def test_noise_is_a_control_with_a_seed(folder, call):
    found = []
    for seed in (1, 1, 2):
        assert call("net.pth", "-o", "new.pth", "--model", "noise", "--seed", seed, "--force").returncode == 0
        found.append((folder / "new.pth").read_bytes())
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.pth", "-o", "new.pth"], "missing.pth: no such file or folder"),
        (["net.pth", "-o", "net.pth", "--force"], "net.pth: is the source itself, which is never changed"),
        (["net.pth", "-o", "new.safetensors"], "new.safetensors: is a name for safetensors files, and the copy has"),
        (["net.pth", "-o", "taken.pth"], "taken.pth: exists already; give --force to replace it"),
        (["net.pth", "-o", "new.pth", "--model", "jet9"], "no model is called 'jet9'; use keys, copies, noise, "),
        (
            ["net.pth", "-o", "new.pth", "--model", "method:C"],
            "the paper has no method 'C' with scales for each filter",
        ),
        (["net.pth", "-o", "new.pth", "--model", "keys", "--scales", "common"], "nothing is fitted with model 'keys'"),
        (["net.pth", "-o", "new.pth", "--layers", "head"], "no layer is called 'head'; the layers are stem.dw, "),
        (
            ["net.pth", "-o", "new.pth", "--chosen-from", "builtin:master-keys"],
            "builtin:master-keys: has no depthwise layer 'stem.dw' of 16 filters of 3x3, as net has; keep that layer",
        ),
        (["net.pth", "-o", "new.pth", "--keep", "*"], "every layer in question is kept ('*')"),
        (["builtin:master-keys", "-o", "new.bin"], "new.bin: ends in '.bin'; the weights of builtin:master-keys are"),
    ],
)
def test_a_fault_of_the_input_is_one_line(folder, call, arguments, message):
    (folder / "taken.pth").write_bytes(b"")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"scalekeys: {message}")
    assert done.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("arguments", [["net.pth"], ["net.pth", "-o", "x", "--min-r2", "2"], ["-o", "new.pth"]])
def test_wrong_usage(call, arguments):
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_the_choices_are_those_of_the_library():
    hints = get_type_hints(verb)
    options = (("criterion", CRITERIA), ("scales", get_args(Scales)), ("discretization", DISCRETIZATIONS))
    for name, allowed in options:
        (literal, nothing) = get_args(hints[name])
        assert set(get_args(literal)) == set(allowed)
        assert nothing is type(None)
    assert signature(verb).parameters["model"].default == signature(sk.model_filters).parameters["model"].default


def test_what_is_left_out_is_shown(folder, call):
    state = load_file(folder / "net.safetensors") | {"blur.filt": torch.ones(8, 1, 3, 3)}
    save_file(state, folder / "more.safetensors")
    done = call("more.safetensors", "-o", "a.safetensors")
    assert done.returncode == 0
    assert "  blur.filt (8x1x3x3): its name 'filt' is not that of a weight\n" in done.stdout
    done = call("more.safetensors", "-o", "b.safetensors", "--json")
    assert json.loads(done.stdout)["left_out"][0]["name"] == "blur.filt"


def test_selected_models_of_small_and_even_kernels_are_written(folder, call):
    draw = torch.Generator().manual_seed(1)
    state = {f"{side}.dw.weight": torch.randn(4, 1, side, side, generator=draw) for side in (2, 3, 4)}
    save_file(state, folder / "even.safetensors")
    done = call("even.safetensors", "-o", "new.safetensors", "--model", "auto")
    assert done.returncode == 0
    assert "8 of 12 depthwise filters in 3 layers are replaced" in done.stdout
    written = load_file(folder / "new.safetensors")
    assert torch.equal(written["2.dw.weight"], state["2.dw.weight"])
    assert not torch.equal(written["4.dw.weight"], state["4.dw.weight"])


def test_a_tilde_is_the_home_folder_in_an_output_as_in_a_source(call, folder, monkeypatch, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    assert call("net.safetensors", "--output=~/a.safetensors", "--model", "noise").returncode == 0
    assert call("~/a.safetensors", "--output=~/b.safetensors", "--model", "noise").returncode == 0
    assert sorted(path.name for path in home.iterdir()) == ["a.safetensors", "b.safetensors"]
    assert not (folder / "~").exists()
