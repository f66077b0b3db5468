"""Bytes that no library would send, to the web server that ships with the product."""

import json
import re
import socket
from collections.abc import Iterator

import pytest

from bookings.gateways.signature import sign
from bookings.models import InboundMessage, Outcome
from tests.factories import NotificationFactory
from tests.processes import SECRET, VIRTUAL_NUMBER, running, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

POST = (
    b"POST /webhooks/inbound-sms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def port(process_env, tmp_path) -> Iterator[int]:
    log = tmp_path / "web.log"
    with running("serve", "--no-sender", "--port", "0", env=process_env, log=log):
        address = rb"Open http://127\.0\.0\.1:(\d+)/"
        wait_for(lambda: re.search(address, log.read_bytes()))
        (number,) = re.findall(address, log.read_bytes())
        yield int(number)


@pytest.fixture
def body() -> bytes:
    fields = {
        "msisdn": NotificationFactory.create().msisdn,
        "to": VIRTUAL_NUMBER,
        "messageId": "0C01",
        "text": "2",
    }
    return json.dumps(fields | {"sig": sign(fields, SECRET, "sha256")}).encode()


def send(port: int, request: bytes, *, then_hang_up: bool = False) -> int:
    """Return the status of the answer to these bytes; 0 if the connection closes without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        if then_hang_up:
            return 0
        return int(connection.recv(4096).split()[1])


def chunks(body: bytes) -> bytes:
    half = len(body) // 2
    pieces = (body[:half], body[half:], b"")
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def test_odd_requests_are_refused_and_a_chunked_reply_is_read_like_any_other(port, body):
    length = b"Content-Length: %d\r\n"
    odd = [
        POST + CHUNKED + b"zz\r\n" + body,
        POST + CHUNKED + chunks(b"x" * 20_000),
        POST + b"Content-Length: six\r\n\r\n" + body,
        POST + b"Content-Length: -6\r\n\r\n" + body,
        POST + length % 200_000 + b"\r\n" + b"x" * 200_000,
        POST.replace(b"json", b"json; charset*=foo'en'b%41r") + length % 6 + b"\r\n" + body[:6],
    ]
    statuses = [send(port, request) for request in odd]
    assert all(400 <= status < 500 for status in statuses), statuses
    send(port, POST + length % 500 + b"\r\n" + body[:50], then_hang_up=True)
    send(port, POST + CHUNKED + chunks(body)[:50], then_hang_up=True)
    assert not InboundMessage.objects.exists()

    assert send(port, POST + CHUNKED + chunks(body)) == 200
    assert InboundMessage.objects.get().outcome == Outcome.MOVED
