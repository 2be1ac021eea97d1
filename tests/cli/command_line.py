"""The command as a user runs it: a process."""

import os
import subprocess
import sys

_COMMAND = [sys.executable, "-c", "from scalekeys.cli import main; main()"]


def run(*arguments, cwd, stdout=subprocess.PIPE, **environment):
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [*_COMMAND, *map(os.fspath, map(_word, arguments))],
        cwd=cwd,
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )


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
