"""Libraries that are not loaded before they are needed: what one process has loaded after each of several steps."""

import json
import subprocess
import sys

HELP = """
import typer.testing, scalekeys.cli
for verb in ("analyze", "keys"):
    assert typer.testing.CliRunner().invoke(scalekeys.cli.app, [verb, "--help"]).exit_code == 0
"""
OPTIONAL = {"timm", "transformers", "onnx", "onnxscript", "onnxruntime", "huggingface_hub", "torchvision"}
STEPS = [
    (HELP, {"torch"}),
    ("import scalekeys.fitting", {"pandas", "scipy"}),
    ("import scalekeys.checkpoints", OPTIONAL),
    ("scalekeys.extract('builtin:master-keys')", OPTIONAL),
    ("import scalekeys.report", {"matplotlib"}),
]
"""Steps, each with libraries that neither it nor one before it loads."""


def test_libraries_are_loaded_when_they_are_needed():
    scripts = "\n".join(f"{step}\nprint(json.dumps(list(sys.modules)))" for step, _ in STEPS)
    command = [sys.executable, "-c", f"import json, sys\n{scripts}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = [set(json.loads(line)) for line in done.stdout.splitlines()]
    assert [names & after for (_, names), after in zip(STEPS, loaded, strict=True)] == [set()] * len(STEPS)
    assert "torch" in loaded[-1]
