"""Failures before the first byte mean that nothing was sent and that the text may be retried."""

import socket
import threading
import time
from contextlib import contextmanager

from bookings.gateways import Verdict
from tests.fake_vonage import FakeVonage
from tests.faults.conftest import SMS, gateway_to


@contextmanager
def listener(answer):
    """Listen on a port where `answer` handles each connection before TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"localhost:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_a_port_that_refuses_means_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"localhost:{server.getsockname()[1]}"
    with gateway_to(host) as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT


def test_a_name_that_does_not_resolve_means_not_sent():
    with gateway_to("vonage.invalid") as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT


def test_a_tls_handshake_that_is_cut_off_means_not_sent():
    with listener(socket.socket.close) as host, gateway_to(host) as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT


def test_a_tls_handshake_that_hangs_means_not_sent_after_the_time_out():
    held: list[socket.socket] = []
    with listener(held.append) as host, gateway_to(host, timeout=1) as gateway:
        began = time.monotonic()
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
        assert time.monotonic() - began < 3
    for connection in held:
        connection.close()


def test_a_certificate_that_is_not_trusted_means_not_sent(vonage):
    with gateway_to(vonage.host) as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
    assert vonage.count() == 0


def test_a_proxy_that_refuses_means_not_sent(vonage, monkeypatch):
    def refuse(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        connection.close()

    with listener(refuse) as proxy, gateway_to(vonage.host, vonage.ca_file) as gateway:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
    assert vonage.count() == 0


def test_authorities_of_the_environment_are_trusted_unless_others_are_named(vonage, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", vonage.ca_file)
    with gateway_to(vonage.host) as gateway:
        assert gateway.send(SMS).verdict is Verdict.ACCEPTED
    with FakeVonage() as another, gateway_to(another.host, another.ca_file) as gateway:
        assert gateway.send(SMS).verdict is Verdict.ACCEPTED


def test_invalid_address_means_not_sent():
    with gateway_to("vonage..example:x") as gateway:
        assert gateway.send(SMS).verdict is Verdict.NOT_SENT
