"""The sending loop: claims queued messages, hands them to the gateway, and does the maintenance in between."""

import concurrent.futures
import contextlib
import datetime as dt
import logging
import threading
import time
from typing import TYPE_CHECKING

from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    close_old_connections,
    connection,
    connections,
)
from django.utils import timezone

from bookings.models import OutboundMessage
from bookings.operations.maintenance import ask_some, sweep
from bookings.outbox.claiming import Claimed, claim
from bookings.outbox.holding import note_running
from bookings.outbox.pace import database_now
from bookings.outbox.sending import gateway, hand_over
from bookings.outbox.waking import WakeUp

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

THREADS = 8
SWEEP_EVERY = 5.0  # seconds
AFTER_A_FAULT = 2.0
BATCH = 4  # one by one, even with time-outs, well within the lease
MOST_SKEW = dt.timedelta(seconds=30)  # leases are in the database's time, all else in ours
PATIENCE = 5.0  # how long send_due waits in all where the gateway asks for pauses
# After a failure a worker is started again in FIRST_DELAY seconds, and in twice as many each time up to LAST_DELAY,
# unless it ran for HEALTHY_SECONDS.
FIRST_DELAY, LAST_DELAY = 2.0, 30.0
HEALTHY_SECONDS = 60.0


def send_due(*, only_once: bool) -> None:
    """Sweep, then send what is due, one by one. Messages that must wait are left in the queue."""
    carrier = gateway()
    patience, swept_at = PATIENCE, -SWEEP_EVERY
    while True:
        if time.monotonic() - swept_at >= SWEEP_EVERY:
            sweep()
            swept_at = time.monotonic()
        asked = ask_some()
        claimed = claim(BATCH)
        for message in claimed.messages:
            hand_over(message, carrier)
        more_in = _more_in(claimed, asked)
        if more_in is None or (only_once and claimed.messages):
            break
        wait = more_in.total_seconds()
        patience -= wait if claimed.is_paused else 0
        if patience < 0:
            break
        time.sleep(wait)
    carrier.close()


class Worker:
    """Claims as many messages as its threads can take, and sweeps every few seconds.

    `libpq_options` replaces PGOPTIONS for its connections to PostgreSQL; None leaves them as the environment says.
    """

    def __init__(self, threads: int = THREADS, libpq_options: str | None = None) -> None:
        self._threads = threads
        self._libpq_options = libpq_options
        self._is_stopping = False  # no lock: a signal's handler sets it
        self._wake_up = WakeUp()
        self._in_flight: set[concurrent.futures.Future[None]] = set()
        self._opened: list[BaseDatabaseWrapper] = []
        self._swept_at = -SWEEP_EVERY
        self._clocks_agree = True

    def run(self) -> None:
        """Send until `stop` is called, then finish the calls under way. A database fault is waited for."""
        with contextlib.closing(self._wake_up), contextlib.closing(gateway()):
            self._prepare_connection()
            try:
                with concurrent.futures.ThreadPoolExecutor(
                    self._threads, "sender", initializer=self._prepare_connection
                ) as pool:
                    while not self._is_stopping:
                        self._round(pool)
            finally:
                self._close_connections()

    def stop(self) -> None:
        """Let `run` claim nothing more. Safe in a signal's handler and from any thread."""
        self._is_stopping = True
        self._wake_up.wake()

    def _prepare_connection(self) -> None:
        """Let `run` close this thread's connection: a thread of the pool cannot do it when it ends."""
        ours = connections[DEFAULT_DB_ALIAS]
        if self._libpq_options is not None and ours.vendor == "postgresql":
            options = {"options": self._libpq_options} | ours.settings_dict["OPTIONS"]
            ours.settings_dict = ours.settings_dict | {"OPTIONS": options}
        ours.inc_thread_sharing()
        self._opened.append(ours)

    def _close_connections(self) -> None:
        for opened in self._opened:
            opened.close()

    def _round(self, pool: concurrent.futures.ThreadPoolExecutor) -> None:
        try:
            close_old_connections()
            if time.monotonic() - self._swept_at >= SWEEP_EVERY:
                self._look_around()
                self._swept_at = time.monotonic()
            free = self._threads - len(self._in_flight)
            asked = ask_some() if self._clocks_agree else 0
            claimed = claim(free) if self._clocks_agree else Claimed()
        except (DatabaseError, InterfaceError) as error:
            # A sentence and no traceback: the fault is the database's.
            logger.error("Database fault, trying again in %s s: %s", AFTER_A_FAULT, error)  # noqa: TRY400
            connection.close()
            self._swept_at = -SWEEP_EVERY  # it may be back from a backup: look before sending
            self._wake_up.sleep(AFTER_A_FAULT)
            return
        self._in_flight |= {pool.submit(_hand_over, message) for message in claimed.messages}
        more_in = _more_in(claimed, asked)
        self._rest(more_in.total_seconds() if more_in is not None else None)

    def _look_around(self) -> None:
        """Sweep, unless our clock is wrong: then nothing is sent and nothing cancelled until it agrees again."""
        skew = timezone.now() - database_now()
        agreed, self._clocks_agree = self._clocks_agree, abs(skew) <= MOST_SKEW
        if self._clocks_agree:
            sweep()
            return
        note_running()
        if agreed:
            logger.error(
                "Sending has stopped: our clock and the database's are %s s apart. Set them right.",
                round(skew.total_seconds()),
            )

    def _rest(self, wait: float | None) -> None:
        """Wait for a free thread, for the pace, or for something to send."""
        done = {future for future in self._in_flight if future.done()}
        if len(self._in_flight) - len(done) >= self._threads:
            done, _ = concurrent.futures.wait(
                self._in_flight, timeout=1, return_when=concurrent.futures.FIRST_COMPLETED
            )
        elif wait is None:
            self._wake_up.wait(SWEEP_EVERY)
        else:
            self._wake_up.sleep(min(wait, SWEEP_EVERY))
        self._in_flight -= done


class WorkerThread(threading.Thread):
    """A worker beside the web server. One that fails is started again, later each time; the web server goes on.

    `libpq_options`: see `Worker`.
    """

    def __init__(self, libpq_options: str | None = None) -> None:
        super().__init__(name="sender", daemon=True)
        self._libpq_options = libpq_options
        self._told_to_stop = threading.Event()
        self._worker: Worker | None = None

    def run(self) -> None:
        delay = FIRST_DELAY
        while not self._told_to_stop.is_set():
            started_at = time.monotonic()
            try:
                self._work()
            except Exception:
                if time.monotonic() - started_at > HEALTHY_SECONDS:
                    delay = FIRST_DELAY
                logger.exception("The sender failed. It is started again in %.0f s", delay)
                self._told_to_stop.wait(delay)
                delay = min(2 * delay, LAST_DELAY)

    def stop(self) -> None:
        """Let the worker claim nothing more; the thread ends when its calls under way have ended."""
        self._told_to_stop.set()
        if self._worker is not None:
            self._worker.stop()

    def _work(self) -> None:
        self._worker = Worker(libpq_options=self._libpq_options)
        if self._told_to_stop.is_set():  # while there was none that could be told
            self._worker.stop()
        self._worker.run()


def _more_in(claimed: Claimed, asked: int) -> dt.timedelta | None:
    """Return when there may be more to do: at once while batches are being asked; None if nothing is due."""
    return dt.timedelta() if asked else claimed.wait


def _hand_over(message: OutboundMessage) -> None:
    """Make one call, in a thread with a database connection of its own."""
    try:
        close_old_connections()
        hand_over(message, gateway())
    except Exception:  # the lease runs out, and recovery says what is known
        logger.exception("Message %s: the sender failed", message.pk)
