"""The injector: stops, kills, freezes, locks and fills what the product runs on, and mends it again."""

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg

from tests.campaigns.shared.environment import Environment
from tests.campaigns.soak.traffic import EventLog, FaultPeriod

#: What the database's return is measured by.
OUTAGE = "PostgreSQL stopped"
WEB_FAULTS = ("web killed", "web told to end, and started again", "web frozen")


class FaultInjector:
    """Breaks one thing at a time, and writes each into the log. With `brief` it mends it sooner."""

    def __init__(self, environment: Environment, log: EventLog, *, brief: bool) -> None:
        self._environment, self._log = environment, log
        # Its own, so that the same seed brings the same faults whatever the traffic drew meanwhile.
        self.chance = random.Random(environment.random.random())
        self._closing = ExitStack()
        self._away = 1.0 if brief else 3.0
        self._locked = 3.0 if brief else 6.0

    @contextmanager
    def sender(self) -> Iterator[None]:
        """The sending process, which is killed and started again."""
        with self._closing:
            self._process = self._closing.enter_context(self._environment.sender())
            yield

    def faults(self) -> dict[str, Callable[[], None]]:
        """What can be broken here, by its name in the log."""
        faults = {
            WEB_FAULTS[0]: lambda: self._web(signal.SIGKILL),
            WEB_FAULTS[1]: lambda: self._web(signal.SIGTERM),
            WEB_FAULTS[2]: self._freeze_web,
            "sender killed": self._kill_sender,
            "a lock held": self._lock,
        }
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
        """One of the faults, until it is mended."""
        began_at = time.monotonic()
        self.faults()[name]()
        self._log.write(FaultPeriod(name, began_at, time.monotonic()))

    def memory(self) -> dict[str, float]:
        """Megabytes of web and sender, as far as they live at this moment."""
        pids = {"web": web_process(), "sender": self._process.pid}
        return {name: _megabytes(pid) for name, pid in pids.items() if pid}

    def _web(self, number: int) -> None:
        """Its supervisor keeps the socket and starts it again in a few seconds."""
        if pid := web_process():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _freeze_web(self) -> None:
        self._web(signal.SIGSTOP)
        time.sleep(self._away)
        self._web(signal.SIGCONT)

    def _kill_sender(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process = self._closing.enter_context(self._environment.sender())

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
        """Who wants a row waits twice: behind those that came before, and then for who holds it."""
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


def web_process() -> int | None:
    """The server that answers: the child of the supervisor that is a child of ours."""
    supervisors = [pid for pid in _children(os.getpid()) if "serve" in _command(pid)]
    return next((pid for parent in supervisors for pid in _children(parent)), None)


def _children(pid: int) -> list[int]:
    return [int(line) for line in _ps("pid=", "--ppid", str(pid)).split()]


def _command(pid: int) -> list[str]:
    return _ps("args=", "-p", str(pid)).split()


def _megabytes(pid: int) -> float:
    return round(int(_ps("rss=", "-p", str(pid)) or 0) / 1024, 1)


def _ps(*arguments: str) -> str:
    command = ["ps", "-o", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
