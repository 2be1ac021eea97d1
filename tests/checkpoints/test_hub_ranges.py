"""Models of a hub by ranges, on a stand-in for the hub that counts what goes out."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save

import scalekeys as sk
from hub_server import COMMIT, publish
from ranged_server import serving
from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError

hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("huggingface_hub.constants")

NET = "someone/net"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A hub, and an empty cache."""
    folder = tmp_path / "hub"
    folder.mkdir()
    with serving() as served:
        monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(folder))
        monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub.constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield served


def state():
    kernels = {f"stages.{n}.dw.weight": torch.randn(16, 1, 7, 7) for n in range(3)}
    return kernels | {f"stages.{n}.fc.weight": torch.zeros(250_000, 1) for n in range(3)}


def files_asked_for(served):
    return [path.rpartition("/")[2] for path, *_ in served.requests if "/resolve/" in path]


def assert_same(bank, tensors):
    for layer in bank.layers:
        assert torch.equal(layer.kernels, tensors[f"{layer.name}.weight"][:, 0])
    assert len(bank.layers) == 3


def test_only_a_part_of_a_model_is_fetched_and_nothing_is_cached(server, tmp_path):
    tensors = state()
    content = {
        "model.safetensors": save(tensors),
        "pytorch_model.bin": b"x",
        "onnx/model.onnx": b"x",
        "README.md": b"x",
    }
    publish(server, NET, content)
    bank = extract(f"hf:{NET}")
    assert_same(bank, tensors)
    assert bank.model == f"hf:{NET}"
    assert set(files_asked_for(server)) == {"model.safetensors"}
    assert server.sent < 150_000 < len(content["model.safetensors"]) / 10
    assert len(server.requests) <= 5
    assert not any((tmp_path / "hub").rglob("*.safetensors"))


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_revision_is_read_in_its_commit(server, revision):
    tensors = state()
    publish(server, NET, {"weights.safetensors": save(tensors)})
    assert_same(extract(f"hf:{NET}@{revision}"), tensors)
    assert all(COMMIT in path for path, *_ in server.requests if "/resolve/" in path)
    with pytest.raises(CheckpointError, match=rf"^hf:{NET}@gone: can be loaded neither from the local cache nor over"):
        extract(f"hf:{NET}@gone")


def test_shards_are_read_by_ranges_too(server, tmp_path):
    tensors = state()
    home = {key: f"model-0000{1 + ('fc' in key)}-of-00002.safetensors" for key in tensors}
    shards = {shard: save({key: tensors[key] for key in tensors if home[key] == shard}) for shard in set(home.values())}
    publish(server, NET, {**shards, "model.safetensors.index.json": json.dumps({"weight_map": home}).encode()})
    assert_same(extract(f"hf:{NET}"), tensors)
    assert server.sent < 250_000
    chosen = sk.replacement(sk.assign_keys(extract(f"hf:{NET}")))
    sk.write_replaced(f"hf:{NET}", chosen, tmp_path / "new.safetensors")
    written = load_file(tmp_path / "new.safetensors")
    assert {key: torch.equal(written[key], tensors[key]) for key in tensors} == {key: "fc" in key for key in tensors}


def test_what_is_in_the_cache_is_read_there(server, tmp_path):
    tensors = state()
    publish(server, NET, {"model.safetensors": save(tensors)})
    home = tmp_path / "hub" / "models--someone--net"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    (home / "snapshots" / COMMIT).mkdir(parents=True)
    (home / "snapshots" / COMMIT / "model.safetensors").write_bytes(save(tensors))
    assert_same(extract(f"hf:{NET}"), tensors)
    assert "bytes=0-65535" not in [told for _, told, _ in server.requests]


def test_a_token_is_for_the_hub_and_not_for_where_its_files_are_stored(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    tensors = state()
    with serving("localhost") as stored:
        publish(server, NET, {"model.safetensors": save(tensors)}, stored=stored)
        assert_same(extract(f"hf:{NET}"), tensors)
        assert {told for path, _, told in server.requests if "/resolve/" in path} == {"Bearer hf_secret"}
        assert {told for *_, told in stored.requests} == {""}
        assert len([path for path, *_ in server.requests if "/resolve/" in path]) == 1  # then straight to the store


def test_a_gated_model_is_one_sentence(server):
    publish(server, NET, {"model.safetensors": save(state())})
    server.answers[f"/{NET}/resolve/{COMMIT}/model.safetensors"] = lambda handler: handler.refuse(403)
    with pytest.raises(CheckpointError, match=rf"^hf:{NET}: cannot be fetched \(HTTP 403\): .* set HF_TOKEN"):
        extract(f"hf:{NET}")


def test_offline_the_hub_is_not_asked(server, monkeypatch):
    publish(server, NET, {"model.safetensors": save(state())})
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="can be loaded neither from the local cache nor over the network"):
        extract(f"hf:{NET}")
    assert server.requests == []


def test_a_fresh_process_asks_the_hub_that_the_environment_names(server, tmp_path):
    publish(server, NET, {"model.safetensors": save(state())})
    environment = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    script = f"from scalekeys.checkpoints import extract; print(len(extract('hf:{NET}')))"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("48", "")
    assert server.sent < 150_000
