"""Faults of what the product runs on: processes, locks, the database server and its disk."""

import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.web_process import WebProcess, memory_of
from tests.campaigns.soak.traffic import EventLog, FaultPeriod

#: The fault after which the campaign measures how soon the database's return is noticed.
OUTAGE = "PostgreSQL stopped"
WEB_FAULTS = ("web killed", "web told to end, and started again", "web frozen")


class FaultInjector:
    """Injects one fault at a time and writes each into the log. With `brief` faults are shorter."""

    def __init__(self, environment: Environment, log: EventLog, *, brief: bool) -> None:
        self._environment, self._log = environment, log
        # A generator of its own: the same seed gives the same faults, whatever the traffic draws meanwhile.
        self.chance = random.Random(environment.random.random())
        self._closing = ExitStack()
        self._away = 1.0 if brief else 3.0
        self._locked = 3.0 if brief else 6.0

    @property
    def is_one_process(self) -> bool:
        """True where the sender runs in the web server's process, as it does on SQLite."""
        return self._environment.kind == "sqlite"

    @contextmanager
    def attached(self, web: WebProcess) -> Iterator[None]:
        """Inject faults into this web server, and into the sender that runs inside the context."""
        self._web = web
        with self._closing:
            if not self.is_one_process:
                self._start_sender()
            yield

    def faults(self) -> dict[str, Callable[[], None]]:
        """Return the faults that are possible here, by their names in the log."""
        faults = {
            WEB_FAULTS[0]: lambda: self._restart_web(signal.SIGKILL),
            WEB_FAULTS[1]: lambda: self._restart_web(signal.SIGTERM),
            WEB_FAULTS[2]: self._freeze_web,
            "a lock held": self._lock,
        }
        if not self.is_one_process:
            faults["sender killed"] = self._kill_sender
        breakable = self._environment.breakable
        if breakable.disk:
            faults["disk full"] = self._fill_disk
        if self._environment.kind == "postgres":
            faults["every slot held"] = self._hold_slots
            faults["every connection ended"] = self._end_connections
        if breakable.postgres:
            faults[OUTAGE] = self._stop_postgres
            faults["PostgreSQL frozen"] = self._freeze_postgres
        return faults

    def inject(self, name: str) -> None:
        """Inject one of the faults; it is over on return."""
        began_at = time.monotonic()
        self.faults()[name]()
        self._log.write(FaultPeriod(name, began_at, time.monotonic()))

    def memory(self) -> dict[str, float]:
        """Return the megabytes that each process holds."""
        pids = {"web": self._web.pid}
        if not self.is_one_process:
            pids["sender"] = self._sender.pid
        return {name: round(memory_of(pid) / 1024, 1) for name, pid in pids.items()}

    def _restart_web(self, number: signal.Signals) -> None:
        """End the web by this signal and start it again after a while, as systemd would."""
        self._web.stop(number)
        time.sleep(self._away)
        self._web.start()

    def _freeze_web(self) -> None:
        self._web.send_signal(signal.SIGSTOP)
        time.sleep(self._away)
        self._web.send_signal(signal.SIGCONT)

    def _kill_sender(self) -> None:
        self._sender.kill()
        self._sender.wait()
        self._start_sender()

    def _start_sender(self) -> None:
        self._sender = self._closing.enter_context(self._environment.sender())

    def _lock(self) -> None:
        if self._environment.kind == "postgres":
            with psycopg.connect(self._environment.database) as connection:
                connection.execute("LOCK TABLE bookings_inboundmessage IN ACCESS EXCLUSIVE MODE")
                time.sleep(self._locked)
            return
        path = self._environment.database.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(self._locked)
            connection.execute("ROLLBACK")

    def _freeze_postgres(self) -> None:
        cluster = self._environment.breakable.postgres
        assert cluster
        with cluster.frozen():
            time.sleep(self._locked)

    def _hold_slots(self) -> None:
        """Lock every slot: a reply then waits twice, for those before it and for the holder of the lock."""
        with psycopg.connect(self._environment.database) as connection:
            connection.execute("SELECT 1 FROM bookings_slot FOR UPDATE")
            time.sleep(self._locked)

    def _fill_disk(self) -> None:
        disk = self._environment.breakable.disk
        assert disk
        disk.fill()
        time.sleep(self._away)
        disk.empty()

    def _end_connections(self) -> None:
        with psycopg.connect(self._environment.database) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def _stop_postgres(self) -> None:
        cluster = self._environment.breakable.postgres
        assert cluster
        cluster.stop()
        time.sleep(self._away)
        cluster.start()
