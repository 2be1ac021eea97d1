"""What the wheel holds: all that the package reads at run time, and nothing else; its version and its command."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.main import get_command

from scalekeys import __version__
from scalekeys.cli.app import app

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_it_holds_every_file_of_the_package_and_no_other(wheel):
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = (
        path for path in (ROOT / "src" / "scalekeys").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    assert held == {path.relative_to(ROOT / "src").as_posix() for path in files}


@pytest.mark.parametrize(
    "file",
    [
        "py.typed",
        "training/recipes/cifar_convnext_free.yaml",
        "report/page/templates/base.html.j2",
        "report/findings/claims.toml",
    ],
)
def test_it_holds_what_is_read_at_run_time(wheel, file):
    assert f"scalekeys/{file}" in wheel.namelist()


def test_its_version_its_command_and_its_licences(wheel):
    (folder,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert folder == f"scalekeys-{__version__}.dist-info"
    assert b"scalekeys = scalekeys.cli:main" in wheel.read(f"{folder}/entry_points.txt")
    assert {f"{folder}/licenses/LICENSE", f"{folder}/licenses/NOTICE"} <= set(wheel.namelist())


def fenced(page, language):
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL))


def commands(text):
    return set(re.findall(r"\bscalekeys ([a-z]+ [\w.:]+)", text))


def functions(text):
    return set(re.findall(r"\bsk\.(\w+)", text))


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_trial_of_the_wheel_runs_what_the_first_pages_show(page):
    trial = (ROOT / "tests" / "try_wheel.sh").read_text(encoding="utf-8")
    assert commands(fenced(page, "sh")) - commands(trial) == set()
    assert functions(fenced(page, "python")) - functions(trial) == set()


def test_who_follows_both_first_pages_meets_no_output_that_exists():
    outputs = [name for page in ("README.md", "docs/start.md") for name in re.findall(r" -o (\S+)", fenced(page, "sh"))]
    assert len(outputs) == len(set(outputs)) > 2


def test_the_trial_of_the_wheel_runs_every_verb():
    trial = (ROOT / "tests" / "try_wheel.sh").read_text(encoding="utf-8")
    assert [verb for verb in get_command(app).commands if f"\nscalekeys {verb} " not in trial] == []
