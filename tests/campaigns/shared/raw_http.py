"""HTTP over raw sockets: signed webhooks as bytes, and the answer to any bytes."""

import hmac
import json
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from urllib.parse import urlencode, urlsplit

from tests.processes import SECRET, VIRTUAL_NUMBER

INBOUND, RECEIPT = "/webhooks/inbound-sms", "/webhooks/delivery-receipt"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
Address = tuple[str, int]

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")


@dataclass(frozen=True, slots=True)
class Answer:
    """The statuses of the answer, none if the server only hung up, and the seconds to its first byte."""

    statuses: tuple[int, ...]
    seconds: float
    is_open: bool = False  # the server did not close the connection in time

    @property
    def status(self) -> int:
        """Return the first status, 0 if there is none."""
        return self.statuses[0] if self.statuses else 0


def address_of(base_url: str) -> Address:
    """Return host and port of a URL."""
    parts = urlsplit(base_url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def inbound(random: Random, **changes: object) -> dict[str, object]:
    """Return the fields of a customer's SMS, unsigned and with a new id. A change to None leaves a field out."""
    fields = {
        "api-key": "abcd1234",
        "msisdn": f"4479{random.randrange(10**8):08}",
        "to": VIRTUAL_NUMBER,
        "messageId": f"0F{random.getrandbits(56):014X}",
        "text": random.choice(["1", "2", "3", "thanks", "when does it come?", "2 please"]),
        "type": "text",
        "message-timestamp": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        "timestamp": str(int(time.time())),
        "nonce": f"{random.getrandbits(128):032x}",
    }
    return _changed(fields, changes)


def receipt(random: Random, **changes: object) -> dict[str, object]:
    """Return the fields of a receipt for an SMS that nobody sent."""
    fields = inbound(random, text=None, type=None) | {
        "status": random.choice(["delivered", "failed", "buffered"]),
        "err-code": "0",
        "price": "0.0333",
        "network-code": "23410",
        "scts": "2611250900",
    }
    return _changed(fields, changes)


def _changed(fields: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    changed = dict(fields) | {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in changed.items() if value is not None}


def with_signature(fields: Mapping[str, object], secret: str = SECRET) -> dict[str, object]:
    """Add `sig` as Vonage computes it (sha256), for any values."""
    base = "".join(
        f"&{name}={re.sub('[&=]', '_', str(value))}" for name, value in sorted(fields.items())
    )
    key = base.encode(errors="surrogatepass")
    return dict(fields) | {"sig": hmac.digest(secret.encode(), key, "sha256").hex()}


def post(
    path: str, body: bytes, kind: str = JSON, *headers: str, length: int | str | None = None
) -> bytes:
    """Return a POST that closes its connection; `length` overrides Content-Length, "" leaves it out."""
    length = len(body) if length is None else length
    told = [f"Content-Length: {length}"] if length != "" else []
    told += [f"Content-Type: {kind}"] if kind else []
    return head("POST", path, *told, *headers) + body


def get(path: str, fields: Mapping[str, object], *headers: str) -> bytes:
    """Return a GET with the fields in its query string."""
    return head("GET", f"{path}?{urlencode(fields)}", *headers)


def head(method: str, path: str, *headers: str) -> bytes:
    """Return the request line and headers of a request that closes its connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def as_json(fields: Mapping[str, object]) -> bytes:
    """Encode the fields as JSON."""
    return json.dumps(fields).encode()


def as_form(fields: Mapping[str, object]) -> bytes:
    """Encode the fields as application/x-www-form-urlencoded."""
    return urlencode(fields).encode()


def chunked(body: bytes, size: int = 100) -> bytes:
    """Encode a body in chunks of so many bytes."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def ask(
    address: Address, pieces: Iterable[bytes], *, hangs_up: bool = False, seconds: float = 15
) -> Answer:
    """Send the pieces and read until the server closes. With `hangs_up` our sending side is closed first."""
    started_at, first_at, read, is_open = time.monotonic(), 0.0, b"", False
    with socket.create_connection(address, timeout=seconds) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
            if hangs_up:
                client.shutdown(socket.SHUT_WR)
            while data := client.recv(65536):
                first_at = first_at or time.monotonic()
                read += data
        except TimeoutError:
            is_open = True
        except OSError:  # the server closed before it had read everything
            pass
    statuses = tuple(int(status) for status in _STATUS.findall(read) if status >= b"200")
    return Answer(statuses, (first_at or time.monotonic()) - started_at, is_open)


@contextmanager
def open_connections(address: Address, count: int, start: bytes) -> Iterator[list[socket.socket]]:
    """Open so many connections that send `start` and then nothing."""
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            clients.append(socket.create_connection(address, timeout=5))
            clients[-1].sendall(start)
        yield clients
    finally:
        for client in clients:
            client.close()


def is_still_open(client: socket.socket) -> bool:
    """Return True if the server has neither answered nor hung up."""
    try:
        client.settimeout(0)
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
