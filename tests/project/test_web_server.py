"""The web server that ships, over real sockets: slow clients, unreadable requests, arrival times."""

import socket
import threading
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import pytest

from bookings.management import web_server
from bookings.web.webhooks import deadline
from tests.processes import wait_for

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
LONG = 16 * 1024 * 1024  # more than the kernel takes off the server's hands


@pytest.fixture
def address(monkeypatch):
    """A server that allows a request one second; it answers with the body's length, or with LONG bytes."""
    monkeypatch.setattr(web_server, "SLOW_SECONDS", 1)
    listener = socket.create_server(("127.0.0.1", 0))
    server = web_server.create_server(_echo, listener, cleanup_interval=1)
    thread = threading.Thread(target=server.run)
    thread.start()
    with listener:
        yield listener.getsockname()
        server.stop()
        thread.join()
        server.close()


def _echo(environ, start_response):
    body = environ["wsgi.input"].read()
    answer = b"x" * LONG if environ["PATH_INFO"] == "/long" else b"%d" % len(body)
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


@contextmanager
def connected(address):
    with closing(socket.create_connection(address, timeout=20)) as client:
        yield client


def ask(address, request):
    """Return all bytes of the answer."""
    with connected(address) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def drip(client, start, drop):
    """Send `start`, then `drop` repeatedly, until the server disconnects."""
    client.settimeout(0.1)
    client.sendall(start)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            client.sendall(drop)
            if client.recv(100) == b"":
                return
        except TimeoutError:
            continue
        except OSError:
            return
    pytest.fail("It still listens.")


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        pytest.param(b"POST / HTTP/1.1\r\nX-Slow: ", b"x", id="its header"),
        pytest.param(HEAD + b"Content-Length: 1000\r\n\r\n", b"x", id="its body"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="its chunks"),
        pytest.param(b"", b"\r\n\r\n", id="nothing at all"),
    ],
)
def test_slow_client_is_disconnected(address, start, drop):
    """Row 26 of the catalogue."""
    with connected(address) as client:
        drip(client, start, drop)


def test_slow_upload_that_goes_on_is_accepted(address):
    piece, pieces = b"x" * 4096, 20
    with connected(address) as client:
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (len(piece) * pieces))
        for _ in range(pieces):
            client.sendall(piece)
            time.sleep(0.15)
        assert client.recv(1000).endswith(b"\r\n\r\n%d" % (len(piece) * pieces))


def test_slow_download_that_goes_on_is_completed(address):
    with connected(address) as client:
        client.sendall(b"GET /long HTTP/1.0\r\nHost: localhost\r\n\r\n")
        read = 0
        while chunk := client.recv(LONG // 20):
            read += len(chunk)
            time.sleep(0.2)
    assert read > LONG


def test_connection_serves_many_requests(address):
    host, port = address
    with closing(HTTPConnection(host, port, timeout=20)) as client:
        client.connect()
        the_same = client.sock
        for _ in range(12):
            client.request("GET", "/")
            assert client.getresponse().read() == b"0"
            time.sleep(0.2)
        assert client.sock is the_same


def test_chunked_body_arrives_complete(address):
    """Row 96 of the catalogue."""
    chunks = b"5\r\nhello\r\n7;last=yes\r\n, world\r\n0\r\n\r\n"
    answer = ask(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.endswith(b"\r\n\r\n12")


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"Content-Length: 5\r\nTransfer-Encoding: chunked", id="length and chunks"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 6", id="two lengths"),
        pytest.param(b"Content-Length: -5", id="a negative length"),
        pytest.param(b"Content-Length: " + b"9" * 5000, id="a length of 5,000 digits"),
        pytest.param(b"Transfer-Encoding: gzip", id="an unknown coding"),
        pytest.param(b"Transfer-Encoding", id="no header"),
    ],
)
def test_body_of_unclear_length_is_rejected(address, header):
    """Row 25 of the catalogue."""
    answer = ask(address, HEAD + header + b"\r\n\r\n0\r\n\r\n")
    assert answer.split()[1] == b"400"


def test_chunked_body_in_http_1_0_is_rejected(address):
    """Otherwise the body would be read as empty and the request answered with 200, so that a reply would be lost."""
    request = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert ask(address, request).split()[1] == b"400"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param((HEAD + b"X-Big: ").ljust(web_server.MAX_HEADER, b"x"), b"431", id="header"),
        pytest.param(HEAD + b"Content-Length: 99999999\r\n\r\n", b"413", id="body"),
    ],
)
def test_request_that_is_too_big_is_rejected_before_it_is_read(address, request_, status):
    """Row 16 of the catalogue."""
    assert ask(address, request_).split()[1] == status


def test_application_learns_when_a_request_arrived_that_waited_for_a_thread():
    told, has_begun, may_go_on = [], threading.Event(), threading.Event()

    def application(environ, start_response):
        has_begun.set()
        may_go_on.wait(20)
        told.append(environ.get(deadline.ARRIVED_AT))
        start_response("200 OK", [("Content-Length", "0")])
        return []

    listener = socket.create_server(("127.0.0.1", 0))
    server = web_server.create_server(application, listener, threads=1)
    running = threading.Thread(target=server.run, daemon=True)
    running.start()
    with (
        listener,
        connected(listener.getsockname()) as one,
        connected(listener.getsockname()) as two,
    ):
        one.sendall(HEAD + b"\r\n")
        has_begun.wait(20)
        two.sendall(HEAD + b"\r\n")
        wait_for(lambda: len(server.task_dispatcher.queue) == 1)
        both_had_arrived_at = time.monotonic()
        may_go_on.set()
        for client in (one, two):
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        server.stop()
        running.join(20)
        server.close()
    first, second = told
    assert 0 < first < second < both_had_arrived_at
