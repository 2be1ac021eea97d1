"""The command as a user runs it: a process."""

import os
import subprocess
import sys

_COMMAND = [sys.executable, "-c", "from scalekeys.cli import main; main()"]


def run(*arguments, cwd):
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*_COMMAND, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
