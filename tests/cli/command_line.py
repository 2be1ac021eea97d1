"""The command as a user runs it: in this process, which spares its start, or in one of its own."""

import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

import pytest
import safetensors.torch
import torch

import scalekeys as sk
from scalekeys.cli import main

COMMAND = (sys.executable, "-c", "from scalekeys.cli import main; main()")
_PLAIN = {"NO_COLOR": "1", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}


def run(*arguments, cwd):
    """Run the command in this process, with its arguments, output and exit status as in one of its own."""
    words = [os.fsdecode(_word(argument)) for argument in arguments]
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, _PLAIN),
        mock.patch.object(sys, "argv", ["scalekeys", *words]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        status = _status_of_main()
    texts = (stream.buffer.getvalue().decode() for stream in (output, errors))
    return subprocess.CompletedProcess(words, status, *texts)


def _status_of_main():
    try:
        main()
    except SystemExit as left:
        if isinstance(left.code, str):  # which the interpreter prints
            sys.stderr.write(f"{left.code}\n")
            return 1
        return left.code or 0
    return 0


def run_process(*arguments, cwd, stdout=subprocess.PIPE, **environment):
    """Run the command in a process of its own, with this environment and standard output."""
    return subprocess.run(
        [*COMMAND, *map(os.fspath, map(_word, arguments))],
        cwd=cwd,
        env={**os.environ, **_PLAIN, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )


def loaded(result, network, folder):
    """Run the statement with which a command says that what it wrote is loaded, and return what it was loaded into."""
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("load:")]
    names = {"network": network, "torch": torch, "sk": sk, "safetensors": safetensors, "onnxruntime": None}
    if "onnxruntime" in line:
        names["onnxruntime"] = pytest.importorskip("onnxruntime")
    with contextlib.chdir(folder):
        exec(line.removeprefix("load:").strip(), names)
    return names.get("session", names["network"])


def _word(argument):
    return argument if isinstance(argument, bytes | str) else str(argument)


def assert_one_sentence(result, *parts):
    """Check that a command ended with one printable line of bounded length that has these parts."""
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("scalekeys: ")
    assert len(line) <= 500
    assert line.isprintable()
    assert [part for part in parts if part not in line] == [], line
