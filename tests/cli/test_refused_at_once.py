"""What is not there, or would be written over, is refused by every verb before PyTorch is imported, which is slow."""

import json
import subprocess
import sys

import pytest
from command_line import COMMAND

from scalekeys.checkpoints.sources.builtin import BUILTINS
from scalekeys.checkpoints.sources.paths import ADDRESSES, HUBS, NETWORKS, check_checkpoint, check_sources
from scalekeys.checkpoints.sources.source import SCHEMES
from scalekeys.errors import CheckpointError
from scalekeys.training.network_source import _BUILTINS

WITHOUT_TORCH = """
import contextlib, io, json, sys
sys.modules["torch"] = sys.modules["numpy"] = None
from scalekeys.cli import main
results = []
for line in json.load(sys.stdin):
    sys.argv = ["scalekeys", *line.split()]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            main()
    except SystemExit as left:
        results.append(left.code)
    except ImportError as error:
        results.append(f"imports {error}")
print(json.dumps(results))
"""
NOTHING, FUNCTION, WEIGHTLESS = "no such file or folder", "nope.py: no such file; give", "this folder holds no weights"
EXISTS, SOURCE = "exists already; give --force", "is the source itself, which is never changed"
PART = "is a part of the source, which is never changed"
FOLDER = "this output folder exists already; give --force"
LINES = {
    "analyze nope.pth -o new": NOTHING,
    "analyze empty -o new": WEIGHTLESS,
    "analyze net.pth -o empty": FOLDER,
    "check nope.pth": NOTHING,
    "check nope.py:build": FUNCTION,
    "check net.pth --checkpoint nope.pth": NOTHING,
    "keys net.pth nope.pth -o new": NOTHING,
    "keys net.pth -o empty": FOLDER,
    "keys -o new --eliminate --network nope.py:build --data empty": FUNCTION,
    "replace nope.pth -o new.pth": NOTHING,
    "replace net.pth -o shard.pth": EXISTS,
    "replace net.pth -o net.pth": SOURCE,
    "replace net.pth -o empty": FOLDER,
    "compress nope.py:build --data empty -o new.pth": FUNCTION,
    "compress nets.py:build --data empty -o net.pth": EXISTS,
    "prune nope.py:build -o new.pth": FUNCTION,
    "prune nope -o new.pth": "nope: names no network; give timm:NAME",
    "prune nets.py:build -o net.pth": EXISTS,
    "crop nope.pth -o new.pth": NOTHING,
    "crop net.pth -o link.pth": SOURCE,
    "crop net.pth -o ./net.pth --force": SOURCE,
    "crop whole -o whole/net.pth --force": PART,
    "crop net.index.json -o shard.pth --force": PART,
    "prune nets.py:build -o nets.py --force": SOURCE,
    "prune nets.py:build --checkpoint net.index.json -o net.pth": EXISTS,
    "prune nets.py:build --checkpoint net.pth -o link.pth --force": SOURCE,
    "separate nets.py:build --checkpoint link.pth -o net.pth --force": SOURCE,
    "compress nets.py:build --checkpoint net.pth --data empty -o net.pth --force": SOURCE,
    "separate nope.py:build -o new.pth": FUNCTION,
    "separate nets.py:build -o net.pth": EXISTS,
    "evaluate nope.py:build --data empty": FUNCTION,
    "evaluate builtin:denoiser --checkpoint empty --data empty": WEIGHTLESS,
    "keys -o new --eliminate --network builtin:denoiser --checkpoint empty --data empty": WEIGHTLESS,
    "atlas build nope.pth gone.pth -o new": "nope.pth: no such file or folder",
    "atlas report atlas -o empty": FOLDER,
    "atlas findings atlas -o empty": FOLDER,
    "compare runs -o empty": FOLDER,
    "demo -o empty": FOLDER,
}
WRONG_USAGE = [
    "check nope.pth --size wide",
    "check nope.pth --images empty --data empty",
    "keys nope.pth -o empty --sizes wide",
    "keys -o empty --eliminate --network nope.py:build --data empty --mean red",
    "replace nope.pth -o net.pth --std 1,2",
    "replace nope.pth -o net.pth --data empty",
    "compress nope.py:build --data empty -o net.pth --mean red",
    "prune nope.py:build -o net.pth --shape wide",
    "prune nope.py:build -o net.pth --grey",
    "crop nope.pth -o net.pth --size wide",
    "crop nope.pth -o net.pth --layer stem",
    "separate nope.py:build -o net.pth --shape 3x9x9 --size 9",
    "separate nope.py:build -o net.pth --accuracy 1",
    "evaluate nope.py:build --data empty --mean red",
]


def test_every_verb_refuses_it_without_pytorch_and_wrong_usage_first(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").touch()
    (tmp_path / "net.pth").write_bytes(b"weights")
    (tmp_path / "link.pth").symlink_to("net.pth")
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "net.pth").write_bytes(b"weights")
    (tmp_path / "shard.pth").write_bytes(b"weights")
    (tmp_path / "net.index.json").write_text('{"weight_map": {"a": "shard.pth"}}')
    (tmp_path / "nets.py").touch()
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=json.dumps([*LINES, *WRONG_USAGE]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    results = dict(zip([*LINES, *WRONG_USAGE], json.loads(done.stdout or "[]"), strict=True))
    wrong = {line: results[line] for line, part in LINES.items() if part not in str(results[line])}
    assert wrong == {}
    assert {line: results[line] for line in WRONG_USAGE if results[line] != 2} == {}
    assert sorted(tmp_path.rglob("*")) == before


def test_every_command_of_weights_or_of_an_output_is_in_the_table_above():
    verbs = {line.split()[0] for line in LINES}
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60).stdout
    known = {line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.startswith("  ")}
    assert known - verbs == {"paper", "train", "Try:"}


@pytest.mark.parametrize("source", ["a.pth", "nope*", "builtin:master-keys"])
def test_a_source_that_may_be_there_is_enough_for_an_atlas(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").touch()
    check_sources(["nope.pth", source, "gone.pth"])


def test_weights_that_a_function_may_load_in_a_way_of_its_own_are_left_to_it(tmp_path):
    check_checkpoint(str(tmp_path), "nets.py:build")
    with pytest.raises(CheckpointError, match="holds no weights"):
        check_checkpoint(str(tmp_path), "timm:net")


def test_sources_of_which_none_is_there():
    with pytest.raises(CheckpointError, match=r"nope\.pth: no such file"):
        check_sources(["nope.pth", "gone.pth"])


def test_the_names_that_are_no_paths_are_those_that_are_opened():
    assert set(SCHEMES) == {*HUBS, *ADDRESSES}
    assert set(NETWORKS) == set(_BUILTINS)
    assert {f"builtin:{name}" for name in BUILTINS} >= set(NETWORKS)
