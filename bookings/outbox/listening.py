"""What wakes a sender: PostgreSQL's NOTIFY as soon as a message is queued; on SQLite a short sleep."""

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


class Bell:
    """Rings when there may be something to send. A missed ring costs one sweep's time at the most.

    A pair of sockets and no lock, so that a signal's handler can ring it too.
    """

    def __init__(self) -> None:
        self._ear, self._clapper = socket.socketpair()
        self._clapper.settimeout(0)
        self._closed = False
        self._listens = connection.vendor == "postgresql"
        if self._listens:
            threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def wait(self, most: float) -> None:
        """Return when there may be something to send, or after so many seconds."""
        self.pause(most if self._listens else min(most, _POLL_SECONDS))

    def pause(self, seconds: float) -> None:
        """Return when rung, or after so many seconds."""
        self._ear.settimeout(seconds)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self._ear.recv(4096)

    def strike(self) -> None:
        with contextlib.suppress(OSError):  # full: it rings already; closed: nobody waits
            self._clapper.send(b"!")

    def close(self) -> None:
        self._closed = True
        self._ear.close()
        self._clapper.close()

    def _listen(self) -> None:
        """Listen on a connection of our own; after each new connection look once, since a ring may have been missed."""
        import psycopg  # noqa: PLC0415  # only where PostgreSQL is used

        while not self._closed:
            try:
                with psycopg.connect(**_parameters(), autocommit=True) as listener:
                    listener.execute(f"LISTEN {CHANNEL}")
                    self.strike()
                    while not self._closed:
                        for _ in listener.notifies(timeout=5, stop_after=1):
                            self.strike()
            except psycopg.Error as error:
                logger.warning("Not woken by the database, looking again soon: %s", error)
                threading.Event().wait(2)


def _parameters() -> dict[str, Any]:
    given = connection.get_connection_params()
    return {key: given[key] for key in _CONNECTION_KEYS if key in given}
