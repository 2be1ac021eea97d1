"""A web server for tests and benchmarks: it gives ranges of files, counts what goes out, and misbehaves on request."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Served:
    """What a server holds, does, and has seen.

    `answers` has a function for a path that takes the handler and may answer itself, and returns whether it did.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Callable[["Handler"], bool]] = field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # path, range, authorization
    sent: int = 0

    def forget(self) -> None:
        self.requests.clear()
        self.sent = 0


class Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *_args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        told = self.headers.get("Range", "")
        self.served.requests.append((self.path, told, self.headers.get("Authorization", "")))
        if (answer := self.served.answers.get(path)) and answer(self):
            return
        content = self.served.files.get(path)
        if content is None:
            self.refuse(404)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", told)
        if not (found and self.served.ranges):
            self.give(200, content)
        elif int(found[1]) >= len(content):
            self.refuse(416)
        else:
            start, stop = int(found[1]), min(int(found[2]) + 1, len(content))
            self.give(206, content[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}, content)

    def give(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, whole: bytes | None = None
    ) -> None:
        given = {"Content-Length": str(len(body)), **(headers or {})}
        if self.served.tags:
            given = {"ETag": f'"{hash(body if whole is None else whole)}"', **given}
        self.send_response(status)
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.served.sent += len(body)

    def refuse(self, status: int, headers: Mapping[str, str] | None = None) -> bool:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        return True

    def lead_to(self, url: str) -> bool:
        return self.refuse(302, {"Location": url})

    def give_json(self, value: object) -> bool:
        self.give(200, json.dumps(value).encode(), {"Content-Type": "application/json"})
        return True


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[Served]:
    """Serve as long as the block lasts."""
    served = Served()
    server = ThreadingHTTPServer((host, 0), type("OwnHandler", (Handler,), {"served": served}))
    server.daemon_threads = True
    served.url = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def be_slow(seconds: float) -> Callable[[Handler], bool]:
    """Return an answer that comes too late."""

    def answer(handler: Handler) -> bool:
        time.sleep(seconds)
        return handler.refuse(503)

    return answer
