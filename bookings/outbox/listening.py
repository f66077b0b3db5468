"""What wakes a sender: PostgreSQL's NOTIFY as soon as a message is queued; on SQLite a short sleep."""

import logging
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
)


class Bell:
    """Rings when there may be something to send. A missed ring costs one sweep's time at the most."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._closed = False
        self._listens = connection.vendor == "postgresql"
        if self._listens:
            threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def wait(self, most: float) -> None:
        """Return when rung, or after so many seconds."""
        self._rung.wait(most if self._listens else min(most, _POLL_SECONDS))
        self._rung.clear()

    def strike(self) -> None:
        self._rung.set()

    def close(self) -> None:
        self._closed = True

    def _listen(self) -> None:
        """Listen on a connection of our own; after each new connection look once, since a ring may have been missed."""
        import psycopg  # noqa: PLC0415  # only where PostgreSQL is used

        while not self._closed:
            try:
                with psycopg.connect(**_parameters(), autocommit=True) as listener:
                    listener.execute(f"LISTEN {CHANNEL}")
                    self._rung.set()
                    while not self._closed:
                        for _ in listener.notifies(timeout=5, stop_after=1):
                            self._rung.set()
            except psycopg.Error as error:
                logger.warning("Not woken by the database, looking again soon: %s", error)
                threading.Event().wait(2)


def _parameters() -> dict[str, Any]:
    given = connection.get_connection_params()
    return {key: given[key] for key in _CONNECTION_KEYS if key in given}
