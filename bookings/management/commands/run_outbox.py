"""The sender: hands queued messages to the gateway. Any number of these may run, on any number of machines."""

import concurrent.futures
import contextlib
import datetime as dt
import logging
import signal
import time
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandParser
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
from bookings.outbox.holding import clock_in
from bookings.outbox.listening import Bell
from bookings.outbox.pace import database_now
from bookings.outbox.sending import gateway, hand_over

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

SWEEP_EVERY = 5.0  # seconds
AFTER_A_FAULT = 2.0
BATCH = 4  # one by one, even with time-outs, well within the lease
MOST_SKEW = dt.timedelta(seconds=30)  # leases are in the database's time, all else in ours
PATIENCE = 5.0  # how long --drain waits in all where the gateway asks for pauses


class Command(BaseCommand):
    help = "Hand queued messages to the gateway, until stopped (Ctrl-C, SIGTERM)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="One sweep and one batch, then stop."
        )
        parser.add_argument(
            "--drain", action="store_true", help="Send all that is due now, then stop."
        )
        parser.add_argument("--threads", type=int, default=8, help="Calls at the same time (8).")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"] or options["drain"]:
            send_due(only_once=options["once"] and not options["drain"])
        else:
            Sender(options["threads"]).run()


def send_due(*, only_once: bool) -> None:
    """Sweep, then send what is due, one by one; what must wait, waits."""
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


class Sender:
    """Claims as much as its threads can take, and sweeps every few seconds."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._is_stopping = False  # no lock: a signal sets it
        self._bell = Bell()
        self._in_flight: set[concurrent.futures.Future[None]] = set()
        self._opened: list[BaseDatabaseWrapper] = []
        self._swept_at = -SWEEP_EVERY
        self._clocks_agree = True

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; then finish the calls under way."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)
        carrier = gateway()
        logger.info("Sender started: %s, %s threads", carrier.name, self._threads)
        with (
            concurrent.futures.ThreadPoolExecutor(
                self._threads, initializer=self._note_connection
            ) as pool,
            contextlib.closing(self._bell),
        ):
            while not self._is_stopping:
                self._round(pool)
        self._close_connections()
        carrier.close()
        logger.info("Sender stopped")

    def _note_connection(self) -> None:
        """A thread keeps its connection, and cannot close it when it ends."""
        connection.inc_thread_sharing()
        self._opened.append(connections[DEFAULT_DB_ALIAS])

    def _close_connections(self) -> None:
        for opened in self._opened:
            opened.close()

    def _stop(self, signum: int, frame: object) -> None:
        self._is_stopping = True
        self._bell.strike()

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
            self._bell.pause(AFTER_A_FAULT)
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
        clock_in()
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
            self._bell.wait(SWEEP_EVERY)
        else:
            self._bell.pause(min(wait, SWEEP_EVERY))
        self._in_flight -= done


def _more_in(claimed: Claimed, asked: int) -> dt.timedelta | None:
    """When there may be more to do: at once while batches are being asked."""
    return dt.timedelta() if asked else claimed.wait


def _hand_over(message: OutboundMessage) -> None:
    """One call, in a thread with a database connection of its own."""
    try:
        close_old_connections()
        hand_over(message, gateway())
    except Exception:  # the lease runs out, and recovery says what is known
        logger.exception("Message %s: the sender failed", message.pk)
