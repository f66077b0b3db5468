"""Wakes a sender when a message is queued: by PostgreSQL's NOTIFY, on SQLite by polling."""

import contextlib
import logging
import socket
import threading
from typing import Any

from django.db import connection

from bookings.outbox.queueing import CHANNEL

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
_CONNECTION_KEYS = (
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "service",
    "connect_timeout",
)


class WakeUp:
    """Wakes one sleeping thread. A missed call costs at most the time until the next sweep.

    It uses a pair of sockets and no lock, so that a signal handler can call `wake` too.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.settimeout(0)
        self._closed = False
        self._listens = connection.vendor == "postgresql"
        if self._listens:
            threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def wait(self, most: float) -> None:
        """Return when there may be a message to send, or after this many seconds."""
        self.sleep(most if self._listens else min(most, _POLL_SECONDS))

    def sleep(self, seconds: float) -> None:
        """Return when woken, or after this many seconds."""
        self._receiver.settimeout(seconds)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self._receiver.recv(4096)

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it was woken already; closed: nothing sleeps
            self._sender.send(b"!")

    def close(self) -> None:
        self._closed = True
        self._receiver.close()
        self._sender.close()

    def _listen(self) -> None:
        """Listen on a connection of its own. Each new connection wakes once, since a call may have been missed."""
        import psycopg  # noqa: PLC0415  # only where PostgreSQL is used

        while not self._closed:
            try:
                with psycopg.connect(**_parameters(), autocommit=True) as listener:
                    listener.execute(f"LISTEN {CHANNEL}")
                    self.wake()
                    while not self._closed:
                        for _ in listener.notifies(timeout=5, stop_after=1):
                            self.wake()
            except psycopg.Error as error:
                logger.warning("Not woken by the database, looking again soon: %s", error)
                threading.Event().wait(2)


def _parameters() -> dict[str, Any]:
    given = connection.get_connection_params()
    return {key: given[key] for key in _CONNECTION_KEYS if key in given}
