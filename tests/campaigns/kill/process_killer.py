"""Kills and freezes senders at random moments, and lets time pass in the database."""

import datetime as dt
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.campaigns.kill.worker_processes import WorkerProcesses
from tests.campaigns.shared.environment import Environment
from tests.processes import wait_for

#: Senders that work at the same time.
SENDERS = 3

_RECEIPT_DELAYS = (0.0, 0.05, 0.3)  # 0: before the answer to the send
#: Most texts sent before the senders are killed: more than are queued meanwhile, so that every kind has its turn.
_MOST_SENT = 24
_FREEZES = 0.2  # share of the senders that are frozen instead of killed
_MINUTE, _QUARTER = dt.timedelta(seconds=61), dt.timedelta(minutes=15)


class ProcessKiller:
    """Starts several senders of one role and a dispatcher's process, and kills them again and again."""

    def __init__(self, environment: Environment, workers: WorkerProcesses, role: str) -> None:
        self._environment, self._workers, self._role = environment, workers, role
        self._dispatcher = 0
        self._frozen: list[int] = []
        self.kills = self.freezes = 0

    def let_work_and_kill(self) -> None:
        """Let new senders work and frozen ones go on among them; then kill or freeze each, and pass time."""
        draw = self._environment.random
        self._environment.network.receipt_delay = draw.choice(_RECEIPT_DELAYS)
        alive = [self._workers.start(self._role) for _ in range(SENDERS)]
        self._dispatcher = self._dispatcher or self._workers.start("dispatcher")
        self._let_work(draw.randint(0, _MOST_SENT))
        self._signal_frozen(signal.SIGCONT)
        time.sleep(draw.uniform(0, 0.3))
        if draw.random() < 0.5:
            self._kill_dispatcher()
        alive, self._frozen = alive + self._frozen, []
        draw.shuffle(alive)
        for pid in alive:
            time.sleep(draw.uniform(0, 0.03))
            self._kill_or_freeze(pid, freeze=draw.random() < _FREEZES or not self.freezes)
        self._pass_time(also_a_quarter=draw.random() < 0.2)

    def _let_work(self, most: int) -> None:
        """Wait until they have sent `most` texts, until no text is queued, or for 2 s."""
        posts = self._environment.network.posts
        enough = len(posts) + most
        with suppress(AssertionError):
            wait_for(
                lambda: len(posts) >= enough or not refs_in_state("queued"), seconds=2, every=0.02
            )

    def _kill_dispatcher(self) -> None:
        if self._dispatcher:
            self._workers.kill(self._dispatcher)
        self._dispatcher = 0

    def end(self) -> None:
        """Kill the dispatcher and all frozen senders, and pass time."""
        self._kill_dispatcher()
        for pid in self._frozen:
            self._workers.kill(pid)
        self._frozen = []
        self._pass_time(also_a_quarter=False)

    def _kill_or_freeze(self, pid: int, *, freeze: bool) -> None:
        if freeze:
            os.kill(pid, signal.SIGSTOP)
            self._frozen.append(pid)
            self.freezes += 1
        else:
            self._workers.kill(pid)
            self.kills += 1

    def _pass_time(self, *, also_a_quarter: bool) -> None:
        """Move leases into the past. A frozen sender that holds a lock runs for a moment until it releases it."""
        from django.db import OperationalError, transaction

        while True:
            try:
                with _short_waits(), transaction.atomic():
                    pass_a_minute()
                    if also_a_quarter:
                        pass_a_quarter()
            except OperationalError:
                self._signal_frozen(signal.SIGCONT)
                time.sleep(0.01)
                self._signal_frozen(signal.SIGSTOP)
            else:
                return

    def _signal_frozen(self, what: signal.Signals) -> None:
        for pid in self._frozen:
            os.kill(pid, what)


def pass_a_minute() -> None:
    """End the leases of all claimed texts, whose senders are dead or frozen."""
    from django.db.models import F

    from bookings.models import OutboundMessage

    OutboundMessage.objects.filter(state="sending").update(lease_until=F("lease_until") - _MINUTE)


def pass_a_quarter() -> None:
    """Move calls with an unknown outcome 15 minutes into the past."""
    from django.db.models import F

    from bookings.models import OutboundMessage

    unknown = OutboundMessage.objects.filter(state="unknown")
    unknown.update(call_started_at=F("call_started_at") - _QUARTER)


@contextmanager
def _short_waits() -> Iterator[None]:
    """Wait 0.2 s for locks: a frozen process keeps those that it holds."""
    from django.db import connection

    is_postgres = connection.vendor == "postgresql"
    setting = "SET lock_timeout = {}" if is_postgres else "PRAGMA busy_timeout = {}"
    with connection.cursor() as cursor:
        cursor.execute(setting.format(200))
        try:
            yield
        finally:
            cursor.execute(setting.format(4000))


def refs_in_state(*states: str) -> set[str]:
    """Return the refs of the messages in these states."""
    from bookings.models import OutboundMessage

    return set(OutboundMessage.objects.filter(state__in=states).values_list("ref", flat=True))
