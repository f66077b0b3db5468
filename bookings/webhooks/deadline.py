"""Giving up on a slow database in time: the gateway must hear 503 before it gives up on us."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from django.db import OperationalError, connection

#: Seconds after which no further statement begins. The last one may wait 2 s for a lock (delivery_sms/wsgi.py),
#: which is under 5 s together.
LAST_START = 2.9


@contextmanager
def in_time() -> Iterator[None]:
    """Raise OperationalError where a statement would begin too late.

    PostgreSQL limits each wait, and a reply may wait for its own id, its questions, its bookings and its slots.
    SQLite waits once, when the transaction begins, and its time-out is enough.
    """
    if connection.vendor == "sqlite":
        yield
        return
    began = monotonic()

    def begin_in_time(execute: Callable[..., Any], *statement: Any) -> Any:
        if monotonic() - began > LAST_START:
            raise OperationalError("the database was too slow for a webhook")
        return execute(*statement)

    with connection.execute_wrapper(begin_in_time):
        yield
