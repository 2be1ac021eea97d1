"""Functions for workers that die, in a module that a fresh process can import."""

import os
import signal
import time
from pathlib import Path


def square(number):
    return number * number


def die_of_three(number):
    if number == 3:
        die()
    return number * number


def die_once(marker):
    """Die where the marker is not there yet."""
    if not Path(marker).exists():
        Path(marker).touch()
        die()
    return "alive"


def sleep(seconds):
    time.sleep(seconds)
    return os.getpid()


def die():
    os.kill(os.getpid(), signal.SIGKILL)
