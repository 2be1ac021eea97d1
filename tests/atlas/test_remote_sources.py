"""Sources on servers in an atlas: an unchanged one costs one small request, and a silent server costs no rows."""

import pytest
from atlas_cases import flat_network
from safetensors.torch import save

import scalekeys as sk
from hub_server import publish
from ranged_server import serving
from scalekeys.atlas import identity
from scalekeys.atlas.identity import signature
from scalekeys.atlas.references import Reference, expand
from scalekeys.checkpoints.web import requests

BUILD = sk.atlas.build


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(requests, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as served:
        yield served


def test_an_address_is_a_source_as_a_file_is(server, tmp_path, monkeypatch):
    """With a query, which is no pattern; a file of the same content is its duplicate."""
    monkeypatch.chdir(tmp_path)
    content = save(flat_network(1))
    server.files["/net.safetensors"] = content
    (tmp_path / "net.safetensors").write_bytes(content)
    address = f"{server.url}/net.safetensors?key=1"
    (tmp_path / "list.txt").write_text(f"{address}\nnet.safetensors\n")
    assert [one.source for one in expand(["list.txt"])] == [address, "net.safetensors"]
    summary = BUILD(["list.txt"], tmp_path / "atlas")
    assert (summary.networks, summary.duplicates, summary.failures) == (1, 1, ())
    server.forget()
    again = BUILD(["list.txt"], tmp_path / "atlas")
    assert (again.analysed, again.kept) == (0, 2)
    assert [told for _, told, _ in server.requests] == ["bytes=0-0"]
    assert server.sent == 1


def test_an_address_that_has_changed_is_read_again(server, tmp_path):
    server.files["/net.safetensors"] = save(flat_network(1))
    BUILD([address := f"{server.url}/net.safetensors"], tmp_path / "atlas")
    server.files["/net.safetensors"] = save(flat_network(2))
    assert BUILD([address], tmp_path / "atlas").analysed == 1
    del server.files["/net.safetensors"]
    summary = BUILD([address], tmp_path / "atlas")
    assert summary.failures[0][1].endswith("cannot be fetched (HTTP 404): there is no such file; check the address")
    assert summary.networks == 0


def test_a_silent_server_costs_no_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as served:
        served.files["/net.safetensors"] = save(flat_network(1))
        BUILD([address := f"{served.url}/net.safetensors"], tmp_path / "atlas")
        served.answers["/net.safetensors"] = lambda handler: handler.refuse(503)
        assert BUILD([address], tmp_path / "atlas").kept == 1
    assert BUILD([address], tmp_path / "atlas").kept == 1
    assert BUILD([address], tmp_path / "new").failures[0][1].endswith("check the address and the network")


def test_the_state_of_an_index_is_that_of_its_shards(server):
    server.files["/a/model.safetensors.index.json"] = b'{"weight_map": {"dw.weight": "one.safetensors"}}'
    server.files["/a/one.safetensors"] = save(flat_network(1))
    reference = Reference(f"{server.url}/a/model.safetensors.index.json")
    before = signature(reference)
    assert before == signature(reference)
    server.files["/a/one.safetensors"] = save(flat_network(2))
    assert before != signature(reference)


def test_a_server_that_tells_no_state_is_asked_for_all_each_time(server):
    server.tags = False
    server.files["/net.safetensors"] = save(flat_network(1))
    assert signature(Reference(f"{server.url}/net.safetensors")) == ""


def test_a_model_of_the_hub_is_known_by_its_commit(server, monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    publish(server, "org/net", {"model.safetensors": save(flat_network(1))}, commit="a" * 40)
    assert BUILD(["hf:org/net"], tmp_path / "atlas").networks == 1
    server.forget()
    assert BUILD(["hf:org/net"], tmp_path / "atlas").kept == 1
    assert [path for path, *_ in server.requests] == ["/api/models/org/net"]
    publish(server, "org/net", {"model.safetensors": save(flat_network(2))}, commit="b" * 40)
    assert BUILD(["hf:org/net"], tmp_path / "atlas").analysed == 1
    server.forget()
    assert signature(Reference(f"hf:org/net@{'b' * 40}")) == f"hf {'b' * 40}"
    assert server.requests == []
    assert signature(Reference("hf:org/none")) == ""
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    assert signature(Reference("hf:org/net")) is None
    assert BUILD(["hf:org/net"], tmp_path / "atlas").kept == 1


def test_many_references_keep_their_order(monkeypatch):
    monkeypatch.setattr(identity, "_ASKED_AT_ONCE", 2)
    references = [Reference(f"builtin:{number}") for number in range(5)]
    assert [one for one, _ in identity.signatures(references)] == references
