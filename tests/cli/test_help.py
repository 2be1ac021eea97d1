"""What every command says of itself."""

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from scalekeys.cli import app


def verbs(command, *names):
    """The words that call each command of the application."""
    if not hasattr(command, "commands"):
        return [names]
    return [verb for name, child in command.commands.items() for verb in verbs(child, *names, name)]


@pytest.mark.parametrize("verb", verbs(get_command(app)), ids=" ".join)
def test_help_shows_an_example(verb):
    shown = CliRunner().invoke(app, [*verb, "--help"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert f"Example: scalekeys {' '.join(verb)} " in shown.stdout
