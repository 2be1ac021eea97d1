"""Safetensors on a web server: what is fetched, and one sentence for each way in which a server fails."""

import json
import re
import struct

import pytest
import torch
from safetensors.torch import load_file, save

import scalekeys as sk
from ranged_server import be_slow, serving
from scalekeys.checkpoints import extract, open_source
from scalekeys.checkpoints.web import ranged_file, requests
from scalekeys.errors import CheckpointError

PATH = "/nets/net.safetensors"
DENSE = 1_000_000  # bytes of each dense weight


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Attempts without waiting, and no proxy between a test and its server."""
    monkeypatch.setattr(requests, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


@pytest.fixture
def server():
    with serving() as served:
        yield served


def state(seed=0):
    draw = torch.Generator().manual_seed(seed)
    kernels = {f"stages.{n}.dw.weight": torch.randn(16, 1, 7, 7, generator=draw) for n in range(3)}
    return kernels | {f"stages.{n}.fc.weight": torch.zeros(DENSE // 4, 1) for n in range(3)}


@pytest.fixture
def content(server):
    server.files[PATH] = save(state())
    return server.files[PATH]


def refused(source, sentence, **options):
    with pytest.raises(CheckpointError, match=sentence) as caught:
        extract(source, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 480
    assert text.count(source.partition("?")[0]) <= 1


def assert_same(bank, expected):
    assert [layer.name for layer in bank.layers] == [layer.name for layer in expected.layers]
    for layer, other in zip(bank.layers, expected.layers, strict=True):
        assert layer.kernels.dtype == other.kernels.dtype
        assert torch.equal(layer.kernels, other.kernels)


def test_the_header_and_the_kernels_are_fetched_and_no_more(server, content, tmp_path):
    (tmp_path / "net.safetensors").write_bytes(content)
    bank = extract(server.url + PATH)
    assert_same(bank, extract(tmp_path / "net.safetensors"))
    assert bank.model == "net"
    assert bank.notes == ()
    kernels = 3 * 16 * 49 * 4
    assert server.sent <= ranged_file.FIRST + kernels
    assert len(server.requests) <= 4


def test_opening_fetches_the_header_alone_and_values_are_fetched_once(server, content):
    opened = open_source(server.url + PATH)
    assert len(server.requests) == 1
    first = [layer.kernels for layer in opened.stream()]
    asked = len(server.requests)
    assert all(map(torch.equal, first, [layer.kernels for layer in opened.stream()]))
    assert len(server.requests) == asked


def test_a_long_header_is_fetched_by_a_second_request(server):
    many = {f"block.{'x' * 200}.{n}.bias": torch.zeros(1) for n in range(400)}
    server.files[PATH] = save({"dw.weight": torch.ones(4, 1, 3, 3), **many})
    assert len(extract(server.url + PATH)) == 4
    (_, first, _), (_, second, _), *_ = server.requests
    assert first == f"bytes=0-{ranged_file.FIRST - 1}"
    assert second.startswith("bytes=0-")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_all_types_are_read_as_from_a_file(server, dtype, tmp_path):
    server.files[PATH] = save({"dw.weight": torch.randn(4, 1, 3, 3).to(dtype)})
    (tmp_path / "net.safetensors").write_bytes(server.files[PATH])
    assert_same(extract(server.url + PATH), extract(tmp_path / "net.safetensors"))


def test_a_query_and_a_name_that_needs_quotes(server):
    server.files["/my%20net%C3%A9.safetensors"] = save(state())
    bank = extract(f"{server.url}/my neté.safetensors?download=true&key=[1]")
    assert bank.model == "my neté"
    assert server.requests[0][0].endswith("?download=true&key=[1]")


def test_computed_weights_and_other_kinds(server, tmp_path):
    tensors = {
        "dw.weight_v": torch.randn(8, 1, 3, 3),
        "dw.weight_g": torch.rand(8, 1, 1, 1),
        "stem.weight": torch.randn(8, 3, 3, 3),
    }
    server.files[PATH] = save(tensors)
    (tmp_path / "net.safetensors").write_bytes(server.files[PATH])
    assert_same(extract(server.url + PATH), extract(tmp_path / "net.safetensors"))
    assert_same(extract(server.url + PATH, kinds="all"), extract(tmp_path / "net.safetensors", kinds="all"))


def sharded(server, folder="/net-a"):
    tensors = state()
    home = {key: f"model-0000{1 + ('fc' in key)}-of-00002.safetensors" for key in tensors}
    for shard in set(home.values()):
        server.files[f"{folder}/{shard}"] = save({key: tensors[key] for key in tensors if home[key] == shard})
    server.files[f"{folder}/model.safetensors.index.json"] = json.dumps({"weight_map": home}).encode()
    return f"{server.url}{folder}/model.safetensors.index.json"


def test_an_index_leads_to_the_shards_beside_it(server, content):
    address = sharded(server)
    bank = extract(address + "?key=1")
    assert_same(bank, extract(server.url + PATH))
    assert bank.model == "net-a"
    assert all(path.endswith("?key=1") for path, *_ in server.requests if path.startswith("/net-a"))


def test_a_shard_that_is_missing_or_elsewhere(server):
    address = sharded(server)
    del server.files["/net-a/model-00001-of-00002.safetensors"]
    refused(address, r"index\.json: model-00001-of-00002\.safetensors: cannot be fetched \(HTTP 404\)")
    server.files["/net-a/model.safetensors.index.json"] = b'{"weight_map": {"dw.weight": "../../else.safetensors"}}'
    refused(address, r"names the shard '\.\./\.\./else\.safetensors', which is no file beside it")
    server.files["/net-a/model.safetensors.index.json"] = b"[]"
    refused(address, "is no index of shards")


def test_a_copy_with_other_filters_is_written_as_a_state_dict(server, content, tmp_path):
    chosen = sk.replacement(sk.assign_keys(extract(server.url + PATH)))
    sk.write_replaced(server.url + PATH, chosen, tmp_path / "new.safetensors")
    written, before = load_file(tmp_path / "new.safetensors"), state()
    assert set(written) == set(before)
    for key, values in before.items():
        assert torch.equal(written[key], values) == ("fc" in key)


def test_redirects_are_followed_once(server, content):
    server.answers["/resolve"] = lambda handler: handler.lead_to(f"{server.url}{PATH}?signed=1")
    assert extract(f"{server.url}/resolve").model == "resolve"
    assert [path for path, *_ in server.requests].count("/resolve") == 1


def test_an_address_that_has_expired_is_asked_for_again(server, content):
    server.answers["/resolve"] = lambda handler: handler.lead_to(f"{server.url}{PATH}")
    opened = open_source(f"{server.url}/resolve")
    direct = server.files.pop(PATH)
    server.files["/new"] = direct
    server.answers["/resolve"] = lambda handler: handler.lead_to(f"{server.url}/new")
    assert len(opened.bank()) == 48


@pytest.mark.parametrize("known", [True, False])
def test_a_token_goes_to_the_server_of_the_hub_and_to_no_other(server, content, known, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    if known:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
    with serving("localhost") as other:
        other.files[PATH] = content
        server.answers["/resolve"] = lambda handler: handler.lead_to(f"{server.url}/again")
        server.answers["/again"] = lambda handler: handler.lead_to(other.url + PATH)
        extract(f"{server.url}/resolve")
        assert {told for *_, told in server.requests} == ({"Bearer secret"} if known else {""})
        assert {told for *_, told in other.requests} == {""}


def test_a_server_of_a_similar_name_is_another(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub = requests.address_of("https://huggingface.co/org/net/resolve/main/model.safetensors")
    assert hub.authorization(hub.url) == {"Authorization": "Bearer secret"}
    others = ("http://huggingface.co/", "https://huggingface.co.example.org/", "https://huggingface.co:8443/")
    assert not any(map(hub.authorization, others))
    assert "secret" not in repr(hub)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, r"\(HTTP 401\): the server wants to know who asks; set HF_TOKEN"),
        (403, r"\(HTTP 403\): the server refuses access; accept the conditions of a gated model"),
        (404, r"\(HTTP 404\): there is no such file; check the address$"),
        (416, r"\(HTTP 416\): the file does not reach so far"),
        (418, r"\(HTTP 418\): the server refuses the request$"),
        (500, r"\(HTTP 500\): the server is in trouble after 4 attempts; run again later$"),
        (429, r"\(HTTP 429\): the server asks for fewer requests; wait"),
    ],
)
def test_each_refusal_is_one_sentence(server, status, sentence):
    server.answers[PATH] = lambda handler: handler.refuse(status)
    refused(server.url + PATH, f"^{re.escape(server.url + PATH)}: cannot be fetched {sentence}")
    assert len(server.requests) == (4 if status in (429, 500) else 1)


def test_trouble_that_passes_is_overcome(server, content):
    fails = iter([503, 500, 429])
    server.answers[PATH] = lambda handler: (status := next(fails, None)) is not None and handler.refuse(status)
    assert len(extract(server.url + PATH)) == 48


def test_a_server_that_asks_for_patience_is_given_some(server, content, monkeypatch):
    waited = []
    monkeypatch.setattr(requests.time, "sleep", waited.append)
    fails = iter([(429, {"Retry-After": "3"}), (503, {"Retry-After": "86400"}), (503, {"Retry-After": "soon"})])
    server.answers[PATH] = lambda handler: (told := next(fails, None)) is not None and handler.refuse(*told)
    extract(server.url + PATH)
    assert waited == [3.0, 10.0, 0.0]


def breaking(content, times):
    """Return an answer that ends in the middle of the body, so many times."""
    left = iter(range(times))

    def answer(handler):
        if "bytes=0-" in handler.headers["Range"] or next(left, None) is None:
            return False
        start, last = map(int, re.findall(r"\d+", handler.headers["Range"]))
        told = {"Content-Range": f"bytes {start}-{last}/{len(content)}", "Content-Length": str(last + 1 - start)}
        handler.give(206, content[start : start + 10], told, content)
        handler.close_connection = True
        return True

    return answer


def test_a_connection_that_breaks_in_the_middle(server, content):
    server.answers[PATH] = breaking(content, times=2)
    assert_same(extract(server.url + PATH), extract(server.url + PATH))
    server.answers[PATH] = breaking(content, times=10)
    refused(server.url + PATH, "the connection breaks before all is there, each time .*; run again later$")


def test_a_server_that_is_silent(server, monkeypatch):
    monkeypatch.setattr(requests, "SILENCE", 0.05)
    server.answers[PATH] = be_slow(0.2)
    refused(server.url + PATH, r"has not gone on answering within 0\.05 s; run again later$")
    assert len(server.requests) == 4


def test_a_server_that_drips(server, content, monkeypatch):
    """Each byte comes in time, and all of them never would."""
    monkeypatch.setattr(ranged_file, "SILENCE", -1.0)
    refused(server.url + PATH, "has not gone on answering")


def test_no_server(server):
    refused("http://127.0.0.1:9/net.safetensors", r"cannot be fetched \(.*\); check the address and the network$")
    refused("http://no-such-host.invalid/net.safetensors", r"cannot be fetched \(.*\); check the address and the net")


def test_a_file_that_changes_while_it_is_read(server, content):
    opened = open_source(server.url + PATH)
    server.files[PATH] = save(state(seed=1))
    with pytest.raises(CheckpointError, match="has changed while it was read; run again when it is written"):
        opened.bank()
    server.tags = False
    opened = open_source(server.url + PATH)
    server.files[PATH] = save({**state(), "more": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="has changed while it was read"):
        opened.bank()


@pytest.mark.parametrize("told", ["bytes 0-65535/*", "bytes 7-20/100", "", "bytes 0-9/100", "0-65535/3000000"])
def test_a_part_that_was_not_asked_for(server, content, told):
    def answer(handler):
        handler.give(206, content[:65536], {"Content-Range": told})
        return True

    server.answers[PATH] = answer
    refused(server.url + PATH, r"was asked for bytes 0 to 65535 and answers with .*; download the file and give its")


def test_a_packed_answer(server, content):
    def answer(handler):
        handler.give(206, content[:100], {"Content-Encoding": "gzip", "Content-Range": "bytes 0-99/100"})
        return True

    server.answers[PATH] = answer
    refused(server.url + PATH, "the server sends it packed, unasked")


def test_a_server_without_ranges_gives_a_small_file_as_a_whole(server, content, monkeypatch):
    server.ranges = False
    bank = extract(server.url + PATH)
    assert len(bank) == 48
    assert bank.notes == (f"the server gives no parts of files, so that all {len(content)} bytes were fetched",)
    assert len(server.requests) == 1
    monkeypatch.setattr(ranged_file, "LARGEST_WHOLE", 1000)
    refused(server.url + PATH, f"gives no parts of files, and its {len(content)} bytes are more than the 1000 that")


def test_a_server_that_stops_giving_ranges(server, content):
    opened = open_source(server.url + PATH)
    server.ranges = False
    with pytest.raises(CheckpointError, match="has given parts of the file, and now gives the whole"):
        opened.bank()


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (b"", r"HTTP 416|is empty"),
        (b"<!DOCTYPE html><html>log in</html>", "is an HTML page; only safetensors files"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer, not the weights"),
        (b"\x80\x02}q\x00.", "is of another kind; only safetensors files"),
        (struct.pack("<Q", 2**40) + b'{"a":1}', "is of another kind; only safetensors files"),
        (struct.pack("<Q", 90_000_000) + b'{"a":1}', r"is damaged or cut short \(.*\); fetch or save it again$"),
        (struct.pack("<Q", 8) + b"{ broken}", "is damaged or cut short"),
    ],
)
def test_what_is_no_safetensors_file(server, written, sentence):
    server.files[PATH] = written
    refused(server.url + PATH, sentence)


def test_a_file_that_is_cut_short_or_whose_tensors_overlap(server, content):
    server.files[PATH] = content[:-1]
    refused(server.url + PATH, "is damaged or cut short")
    header = {"dw.weight": {"dtype": "F32", "shape": [2, 1, 3, 3], "data_offsets": [0, 10**9]}}
    told = json.dumps(header).encode()
    server.files[PATH] = struct.pack("<Q", len(told)) + told + bytes(72)
    refused(server.url + PATH, "is damaged or cut short")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("https://", "names no server; give https://SERVER/PATH"),
        ("https://me:secret@example.org/net.safetensors", "^an address with a user or a password in it is not fetched"),
        ("http://example.org:port/net", "is no address"),
        ("https:net.safetensors", "names no server"),
    ],
)
def test_what_is_no_address(address, sentence):
    with pytest.raises(CheckpointError, match=sentence) as caught:
        extract(address)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/net.safetensors", "file:///etc/passwd"])
def test_redirects_to_other_protocols_are_not_followed(server, target):
    server.answers[PATH] = lambda handler: handler.lead_to(target)
    refused(server.url + PATH, "leads on to (ftp|file):, which is not followed|leads on without end, or to no")


def test_redirects_without_end(server):
    server.answers[PATH] = lambda handler: handler.lead_to(server.url + PATH)
    refused(server.url + PATH, "leads on without end")


def test_a_fiftieth_of_a_convnext_is_fetched_at_most(server):
    """The shapes of ConvNeXt-Tiny (Liu et al., A ConvNet for the 2020s, 2022, table 9), without biases and norms."""
    tensors = {"stem.0.weight": torch.zeros(96, 3, 4, 4), "head.fc.weight": torch.zeros(1000, 768)}
    for stage, (depth, dim) in enumerate(zip((3, 3, 9, 3), (96, 192, 384, 768), strict=True)):
        for block in range(depth):
            name = f"stages.{stage}.blocks.{block}"
            tensors[f"{name}.conv_dw.weight"] = torch.rand(dim, 1, 7, 7)
            tensors[f"{name}.mlp.fc1.weight"] = torch.zeros(4 * dim, dim)
            tensors[f"{name}.mlp.fc2.weight"] = torch.zeros(dim, 4 * dim)
    server.files[PATH] = save(tensors)
    assert len(extract(server.url + PATH)) == 6624
    assert server.sent < 0.02 * len(server.files[PATH])
    assert len(server.requests) <= 19


def test_kernels_that_lie_close_together_are_fetched_together(server):
    first = {"a.weight": torch.zeros(DENSE // 4, 1)}
    near = {f"b.{n}.{name}": torch.ones(8, 1, k, k) for n in range(9) for name, k in (("dw.weight", 3), ("pw", 30))}
    server.files[PATH] = save(first | near)
    assert len(extract(server.url + PATH)) == 72
    assert len(server.requests) == 2


def test_a_size_that_no_file_has_is_refused(server, content):
    def boast(handler):
        first = content[: ranged_file.FIRST]
        told = f"bytes 0-{len(first) - 1}/{10**30}"
        handler.give(206, first, {"Content-Range": told}, content)
        return True

    server.answers[PATH] = boast
    refused(server.url + PATH, "is no size of a file; check the address")
