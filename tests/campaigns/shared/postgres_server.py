"""A PostgreSQL server for one campaign, which may be stopped and frozen."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from tests.campaigns.shared.ports import free_port

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 60
shared_buffers = 32MB
fsync = on
synchronous_commit = on
full_page_writes = on
"""


def programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, None if they are not installed.

    Debian keeps them beside the server, other systems in the PATH.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    return found[-1].parent if found else None


class PostgresServer:
    """A server as durable as one in production, at `url`. With `data` its database is in that folder."""

    def __init__(self, folder: Path, data: Path | None) -> None:
        found = programs()
        assert found, "initdb is not here"
        self._programs, self._folder, self._data = found, folder, data
        self._port = free_port()
        self.server = f"postgres://postgres@127.0.0.1:{self._port}"
        self.url = f"{self.server}/campaign"

    def __enter__(self) -> Self:
        self._folder.mkdir()
        for path in filter(None, [self._folder, self._data]):
            if os.geteuid() == 0:
                shutil.chown(path, "postgres", "postgres")
        options = ("-U", "postgres", "--auth=trust", "--no-locale", "-E", "UTF8", "--no-sync")
        self._run("initdb", *options)
        with (self._folder / "cluster" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_SETTINGS.format(port=self._port, folder=self._folder))
        self.start()
        with psycopg.connect(f"{self.server}/postgres", autocommit=True) as admin:
            where = ""
            if self._data:
                admin.execute(f"CREATE TABLESPACE small LOCATION '{self._data}'".encode())
                where = "TABLESPACE small"
            admin.execute(f"CREATE DATABASE campaign TEMPLATE template0 {where}".encode())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(subprocess.CalledProcessError):  # it is stopped already
            self.stop()

    def stop(self) -> None:
        """Stop at once and without a checkpoint, as a crash does."""
        self._run("pg_ctl", "stop", "-m", "immediate")

    def start(self) -> float:
        """Start it and wait until it answers a query; returns that moment on the monotonic clock."""
        log = str(self._folder / "server.log")
        self._run("pg_ctl", "start", "-W", "-l", log)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, Path(log).read_text(encoding="utf-8")[-3000:]
            time.sleep(0.02)
        return time.monotonic()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop its processes with SIGSTOP. The kernel goes on accepting connections and data for them."""
        postmaster = (
            (self._folder / "cluster" / "postmaster.pid").read_text(encoding="utf-8").split()[0]
        )
        backends = ["ps", "-o", "pid=", "--ppid", postmaster]
        _tell(int(postmaster), signal.SIGSTOP)  # first, so that it forks no more
        listed = subprocess.run(backends, capture_output=True, text=True, check=False)
        pids = [int(postmaster), *map(int, listed.stdout.split())]
        try:
            for pid in pids:
                _tell(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                _tell(pid, signal.SIGCONT)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            with psycopg.connect(f"{self.server}/postgres", connect_timeout=2) as connection:
                connection.execute("SELECT 1")
            return True
        return False

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs, as the user postgres if we are root: the server refuses root."""
        ahead = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run(
            [
                *ahead,
                str(self._programs / program),
                "-D",
                str(self._folder / "cluster"),
                *arguments,
            ],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )


def _tell(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
