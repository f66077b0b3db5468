"""A webhook's time: where the database does not answer, the gateway must hear 503 within 5 s of its request."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest

#: Under this key of the WSGI environment our web server says when the request had arrived: `time.monotonic()`.
ARRIVED_AT = "delivery_sms.arrived_at"

#: Seconds in which a request may begin a statement on PostgreSQL. The last one may wait 2 s for a lock
#: (delivery_sms/wsgi.py), which is under 5 s together.
LAST_START = 2.9
#: Seconds after its arrival in which it may begin its transaction on SQLite.
LAST_TURN = 3.5
#: Seconds in which PostgreSQL is taken to be stuck after it has failed a webhook, unless it serves one.
STUCK = 5.0

_turn = threading.Lock()


class TooLateError(OperationalError):
    """The database may be well, but not for this request."""

    def __init__(self) -> None:
        super().__init__("too slow for a webhook")


class _Postgresql:
    """What this process knows of it."""

    stuck_until = 0.0


@contextmanager
def in_time(request: HttpRequest) -> Iterator[None]:
    """Raise TooLateError where a transaction, or a statement in it, would begin too late.

    A request may have waited since its arrival for a thread, behind others that wait for the database.
    """
    arrived_at = request.META.get(ARRIVED_AT, monotonic())
    with _on_sqlite(arrived_at) if connection.vendor == "sqlite" else _on_postgresql(arrived_at):
        yield


@contextmanager
def _on_postgresql(arrived_at: float) -> Iterator[None]:
    """PostgreSQL limits each wait, and a reply may wait for its own id, its questions, its bookings and its slots.

    Only while it is stuck the time counts from the arrival: else nobody would be done where there is so much to do that
    each gives up half-way.
    """
    now = monotonic()
    began_at = arrived_at if now < _Postgresql.stuck_until else now

    def begin_in_time(execute: Callable[..., Any], *statement: Any) -> Any:
        _left(began_at, LAST_START)
        return execute(*statement)

    _left(began_at, LAST_START)  # before it connects
    try:
        with connection.execute_wrapper(begin_in_time):
            yield
    except TooLateError:
        raise
    except (OperationalError, InterfaceError):
        _Postgresql.stuck_until = monotonic() + STUCK
        raise
    _Postgresql.stuck_until = 0.0


@contextmanager
def _on_sqlite(arrived_at: float) -> Iterator[None]:
    """One at a time: SQLite's own waiters look in now and then, and overtake one another until the last gives up.

    So only one of us waits for what another process holds. Who has begun waits no more.
    """
    if not _turn.acquire(timeout=_left(arrived_at, LAST_TURN)):
        raise TooLateError
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {1000 * _left(arrived_at, LAST_TURN):.0f}")
        yield
    finally:
        _turn.release()


def _left(began_at: float, limit: float) -> float:
    """Seconds that are left of it; raises TooLateError if none are."""
    left = began_at + limit - monotonic()
    if left <= 0:
        raise TooLateError
    return left
