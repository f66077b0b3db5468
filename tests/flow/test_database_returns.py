"""PostgreSQL stops and returns (cases found by the campaign `soak`)."""

import select
import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from bookings.gateways import OutgoingSMS, SendResult, Verdict
from bookings.outbox.claiming import claim
from bookings.outbox.sending import hand_over

pytestmark = pytest.mark.database


@contextmanager
def road(port):
    """Forward one connection from a local port to the tests' database."""
    given = connection.settings_dict
    goal = (given["HOST"] or "127.0.0.1", int(given["PORT"] or 5432))

    def lead():
        with (
            suppress(OSError),
            server.accept()[0] as near,
            socket.create_connection(goal) as far,
        ):
            across = {near: far, far: near}
            while True:
                for end in select.select([near, far], [], [])[0]:
                    if not (data := end.recv(65536)):
                        return
                    across[end].sendall(data)

    with socket.create_server(("127.0.0.1", port)) as server:
        leading = threading.Thread(target=lead)
        leading.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            leading.join()


@pytest.fixture
def elsewhere():
    """Return a connection to a port without a server, and that port."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite is always there.")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    other: Any = connections.create_connection("default")
    other.settings_dict = connection.settings_dict | {"HOST": "127.0.0.1", "PORT": str(port)}
    return other, port


@pytest.mark.django_db
def test_a_database_that_was_away_is_used_as_soon_as_it_is_back(elsewhere):
    """A pool would retry after 1 s, 2 s, 4 s, 8 s."""
    other, port = elsewhere
    for _ in range(4):
        with pytest.raises(OperationalError):
            other.ensure_connection()
    with road(port), closing(other), other.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


class Cutting:
    """A gateway that takes a text; the database has closed our connection by then, and we know of it."""

    name = "simulator"

    def send(self, sms: OutgoingSMS) -> SendResult:
        connection.connection.close()
        return SendResult(verdict=Verdict.ACCEPTED)

    def close(self) -> None:
        pass


@pytest.mark.django_db(transaction=True)
def test_send_result_is_recorded_over_a_new_connection(queued):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite is always there.")
    queued(gateway="simulator")
    [message] = claim(1).messages
    hand_over(message, Cutting())
    assert message.attempts.get().verdict == Verdict.ACCEPTED
