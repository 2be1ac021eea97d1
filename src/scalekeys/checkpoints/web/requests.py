"""Requests to web servers: redirects, tokens, attempts, and one clear sentence for each way in which they fail."""

import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from scalekeys.errors import CheckpointError
from scalekeys.optional import first_line
from scalekeys.version import __version__

T = TypeVar("T")

WAITS = (0.5, 1.0, 2.0)
"""Seconds between one attempt and the next."""
SILENCE = 10.0
"""Seconds without a byte after which a server counts as dead."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The states of an answer after which another attempt may succeed."""

_LONGEST_WAIT = 10.0
_HUB = "https://huggingface.co"
_ALLOWED = "!#$%&'()*+,/:;=?@[]~"  # what an address may hold beside letters, digits and -._
_MEANINGS = {
    401: "the server wants to know who asks; set HF_TOKEN if it is a private or gated model of the hub",
    403: "the server refuses access; accept the conditions of a gated model on the hub and set HF_TOKEN, or renew an "
    "address that has expired",
    404: "there is no such file; check the address",
    410: "there is no such file any more; check the address",
    416: "the file does not reach so far, so it is empty or has changed; check it, and run again",
    429: "the server asks for fewer requests; wait, and run again",
}


class NoAnswerError(CheckpointError):
    """No server answers, the connection breaks again and again, or the server is in trouble."""


class RefusedError(CheckpointError):
    """A server answers with an error."""


@dataclass(frozen=True)
class Address:
    """Where a file is."""

    url: str
    """Begins with ``http://`` or ``https://``."""
    label: str
    """What errors call the file: the address without a query, which may hold a signature."""
    token: str = field(default="", repr=False)
    """A bearer token, which is sent to the server of `home` and to no other."""
    home: str = ""
    """An address of the server that the token is for."""

    def authorization(self, url: str) -> dict[str, str]:
        """Return the header that tells a server who asks; none for another server than the home of the token."""
        told = bool(self.token) and _origin(url) == _origin(self.home)
        return {"Authorization": f"Bearer {self.token}"} if told else {}


def address_of(url: str) -> Address:
    """Return the address of a file, with the token in ``HF_TOKEN`` for the hub.

    Raises CheckpointError if it names no server, or a user and password, which would stand in every table and report.

    >>> address_of("https://example.org/my net.safetensors").url
    'https://example.org/my%20net.safetensors'
    >>> address_of("https://me:secret@example.org/net.safetensors")
    Traceback (most recent call last):
        ...
    scalekeys.errors.CheckpointError: an address with a user or a password in it is not fetched; leave them out
    """
    quoted = quote(url, safe=_ALLOWED)
    try:
        parts = urlsplit(quoted)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise CheckpointError(f"{url}: is no address ({error}); check it") from None
    if "@" in parts.netloc:
        raise CheckpointError("an address with a user or a password in it is not fetched; leave them out")
    if not host:
        raise CheckpointError(f"{url}: names no server; give https://SERVER/PATH")
    home = os.environ.get("HF_ENDPOINT", "").strip() or _HUB
    return Address(quoted, url.partition("?")[0], os.environ.get("HF_TOKEN", "").strip(), home)


def ask(
    address: Address,
    headers: Mapping[str, str],
    receive: Callable[[HTTPResponse], T],
    *,
    attempts: int = len(WAITS) + 1,
) -> T:
    """Send a GET request and hand the answer over; a failure that may pass is followed by another attempt.

    `receive`: takes the answer, of status 2xx. It is called again where the connection breaks while it reads.
    Raises NoAnswerError if no server answers, the connection breaks each time, or the server is in trouble;
    RefusedError if the server answers with another error.
    """
    for attempt in range(1, attempts + 1):
        try:
            request = Request(address.url, headers={**_CUSTOMARY, **headers})
            for name, value in address.authorization(address.url).items():
                request.add_unredirected_header(name, value)
            with build_opener(_Redirects(address)).open(request, timeout=SILENCE) as response:
                return receive(response)
        except HTTPError as error:
            error.close()
            if attempt == attempts or error.code not in PASSING:
                raise _refusal(address, error) from None
            wait = max(WAITS[attempt - 1], _asked_wait(error.headers))
        except (OSError, HTTPException, ValueError) as error:  # ValueError: of what can be no address
            reason = error.reason if isinstance(error, URLError) else error
            if attempt == attempts or not _may_pass(reason):
                raise NoAnswerError(f"{address.label}: {_in_words(reason)}") from None
            wait = WAITS[attempt - 1]
        time.sleep(wait)
    raise AssertionError("there is one attempt at least")


_CUSTOMARY = {"User-Agent": f"scalekeys/{__version__}", "Accept-Encoding": "identity"}


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, from https to https only, and takes the token along only where the server stays the same."""

    max_redirections = 5

    def __init__(self, address: Address) -> None:
        self._address = address

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            fp.close()
            raise RefusedError(f"{self._address.label}: the server leads on to {scheme}:, which is not followed")
        follower = super().redirect_request(req, fp, code, msg, headers, quote(newurl, safe=_ALLOWED))
        if follower is not None:
            for name, value in self._address.authorization(follower.full_url).items():
                follower.add_unredirected_header(name, value)
        return follower


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


def _asked_wait(headers: Message) -> float:
    """Return how many seconds a server asks to wait, up to a limit."""
    told = headers.get("Retry-After", "")
    return min(float(told), _LONGEST_WAIT) if told.isdecimal() else 0.0


def _refusal(address: Address, error: HTTPError) -> CheckpointError:
    if 300 <= error.code < 400:
        return RefusedError(f"{address.label}: the server leads on without end, or to no address ({error.code})")
    otherwise = f"the server is in trouble after {len(WAITS) + 1} attempts; run again later"
    what = _MEANINGS.get(error.code, otherwise if error.code >= 500 else "the server refuses the request")
    kind = NoAnswerError if error.code in PASSING else RefusedError
    return kind(f"{address.label}: cannot be fetched (HTTP {error.code}): {what}")


def _may_pass(reason: object) -> bool:
    """Tell whether another attempt can help: not where a name, a port or a certificate is at fault."""
    if isinstance(reason, socket.gaierror | ConnectionRefusedError | ssl.SSLCertVerificationError | ValueError):
        return False
    return isinstance(reason, OSError | HTTPException)


def _in_words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"the server has not gone on answering within {SILENCE:g} s; run again later"
    said = first_line(reason)
    if isinstance(reason, HTTPException | ConnectionResetError | ConnectionAbortedError):
        return f"the connection breaks before all is there, each time ({said}); run again later"
    return f"cannot be fetched ({said}); check the address and the network"
