"""A webhook's time: where the database does not answer, the gateway must hear 503 within 5 s of its request.

What a request may wait for, and the worst sum of it on each database:

    PostgreSQL    CUT_AFTER, and connecting, for each address of it: `connect_timeout` (settings)     2.4 + 2 s
    SQLite        LAST_TURN with the turn and the lock, and connecting: `timeout` (settings)          3.5 + 1 s
"""

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from time import monotonic, time
from typing import NoReturn, Self

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections
from django.http import HttpRequest

from delivery_sms.sqlite3.turns import WEBHOOKS, writing

#: Under this key of the WSGI environment our web server says when the request had arrived: `time.monotonic()`.
ARRIVED_AT = "delivery_sms.arrived_at"

#: Seconds after which a request's connection to PostgreSQL is cut.
CUT_AFTER = 2.4
#: Seconds after its arrival in which a request may begin its transaction on SQLite.
LAST_TURN = 3.5
#: Seconds in which PostgreSQL is taken to be stuck after it has failed a webhook, unless it serves one.
STUCK = 5.0

_CUT_AGAIN = 0.2


class TooLateError(OperationalError):
    """The database may be well, but not for this request."""

    def __init__(self) -> None:
        super().__init__("too slow for a webhook")


class _Postgresql:
    """This process's knowledge of PostgreSQL."""

    stuck_until = 0.0


@contextmanager
def in_time(request: HttpRequest) -> Iterator[None]:
    """Raise TooLateError where a transaction would begin too late, or is not done in time.

    A request may have waited since its arrival for a thread, behind others that wait for the database.
    """
    arrived_at = _arrived_at(request)
    with _on_sqlite(arrived_at) if connection.vendor == "sqlite" else _on_postgresql(arrived_at):
        yield


def cut_off(seconds: float) -> AbstractContextManager[object]:
    """Whatever this thread waits for at PostgreSQL fails with OperationalError after so many seconds."""
    return nullcontext() if connection.vendor == "sqlite" else _Guard(seconds)


class _Guard:
    """Cuts this thread's connection to PostgreSQL when its time is up, and lets the thread open no other meanwhile.

    PostgreSQL's own limits are for each lock and each statement, and hold only as long as it is there to watch them.
    """

    has_cut = False

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ours = connections[DEFAULT_DB_ALIAS]
        self._is_over = threading.Event()
        self._cutting = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._cutting:  # never the connection of what comes next
            self._is_over.set()
            vars(self._ours).pop("connect", None)

    def _watch(self) -> None:
        wait = self._seconds
        while not self._is_over.wait(wait):
            with self._cutting:
                if not self._is_over.is_set():
                    self._cut()
            wait = _CUT_AGAIN  # what was being opened at that moment

    def _cut(self) -> None:
        self.has_cut = True
        vars(self._ours)["connect"] = _refuse  # Django would, to end the transaction
        with suppress(Exception):  # it is not open, or no more
            opened = self._ours.connection
            with socket.socket(fileno=os.dup(opened.fileno())) as line:
                opened.fileno()  # still open, so the line is its own
                line.shutdown(socket.SHUT_RDWR)


def _refuse() -> NoReturn:
    raise TooLateError


@contextmanager
def _on_postgresql(arrived_at: float) -> Iterator[None]:
    """Only while PostgreSQL is stuck the time counts from the arrival.

    Else nobody would be done where there is so much to do that each gives up half-way.
    """
    now = monotonic()
    began_at = arrived_at if now < _Postgresql.stuck_until else now
    with _Guard(_left(began_at, CUT_AFTER)) as guard:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            _Postgresql.stuck_until = monotonic() + STUCK
            if guard.has_cut:
                raise TooLateError from error
            raise
    _Postgresql.stuck_until = 0.0


@contextmanager
def _on_sqlite(arrived_at: float) -> Iterator[None]:
    """Take this thread's turn before the transaction begins, and wait for other processes no longer than is left."""
    ours = connections[DEFAULT_DB_ALIAS]
    if not writing.take(ours, _left(arrived_at, LAST_TURN), WEBHOOKS):
        raise TooLateError
    try:
        with ours.cursor() as cursor:
            left = _left(arrived_at, LAST_TURN)
            cursor.execute(f"PRAGMA busy_timeout = {1000 * left:.0f}")
        yield
    finally:
        writing.give(ours)


def _left(began_at: float, limit: float) -> float:
    """Seconds that are left of it; raises TooLateError if none are."""
    left = began_at + limit - monotonic()
    if left <= 0:
        raise TooLateError
    return left


def _arrived_at(request: HttpRequest) -> float:
    """By `time.monotonic()`: as our web server says, or else the proxy in front of another (docs/nginx.conf)."""
    told: float | None = request.META.get(ARRIVED_AT)
    if told is not None:
        return told
    passed_on = request.headers.get("X-Request-Start", "")
    if not settings.BEHIND_PROXY or not re.fullmatch(r"[0-9]{10}\.[0-9]{3}", passed_on):
        return monotonic()
    return monotonic() - max(0.0, time() - float(passed_on))
