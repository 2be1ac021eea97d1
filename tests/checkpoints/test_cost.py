"""What reading costs: no more memory than the depthwise layers."""

import json
import subprocess
import sys
import tracemalloc

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from scalekeys.checkpoints import extract, open_source
from scalekeys.checkpoints.formats import safetensors_file

LOADS = json.loads


def run(*lines):
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


MEGABYTE = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of resident memory where Linux keeps it")
@pytest.mark.parametrize(("name", "save"), [("net.pth", torch.save), ("net.safetensors", save_file)])
def test_reading_a_large_file_reads_the_depthwise_layers_only(name, save, tmp_path):
    dense = {f"fc{n}.weight": torch.zeros(MEGABYTE, 8) for n in range(8)}
    save({"dw.weight": torch.ones(64, 1, 7, 7), **dense}, tmp_path / name)
    assert (tmp_path / name).stat().st_size > 256 * MEGABYTE
    peak = "int(re.search(r'VmHWM:\\s+(\\d+) kB', pathlib.Path('/proc/self/status').read_text()).group(1))"
    grown = run(
        "import pathlib, re, torch, safetensors.torch, scalekeys",
        "scalekeys.extract({'dw.weight': torch.ones(64, 1, 7, 7)})",
        f"before = {peak}",
        f"assert len(scalekeys.extract({str(tmp_path / name)!r})) == 64",
        f"print({peak} - before)",
    )
    assert int(grown) * 1024 < 32 * MEGABYTE


def test_the_header_of_a_file_of_many_layers_is_not_read_for_each(tmp_path, monkeypatch):
    """Reading a header of n tensors for each of n layers takes minutes for a network of some thousand."""
    read = []
    monkeypatch.setattr(safetensors_file.json, "loads", lambda text: read.append(text) or LOADS(text))
    monkeypatch.setattr(
        safetensors_file, "safe_open", lambda *args, **more: read.append(args) or safe_open(*args, **more)
    )
    state = {f"blocks.{number}.dw.weight": torch.rand(2, 1, 3, 3) for number in range(20)}
    save_file(state, tmp_path / "net.safetensors", {"data_offsets": "a word of the user"})
    assert len(extract(tmp_path / "net.safetensors").layers) == 20
    assert len(read) == 2


def test_a_tensor_of_safetensors_is_in_memory_once(tmp_path):
    values = torch.arange(MEGABYTE, dtype=torch.float32)
    save_file({"dw.weight": values.view(-1, 1, 4, 4)}, tmp_path / "net.safetensors")
    opened = open_source(tmp_path / "net.safetensors")
    tracemalloc.start()
    loaded = opened.load("dw.weight")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert torch.equal(loaded.flatten(), values)
    assert peak < 1.25 * values.nbytes
