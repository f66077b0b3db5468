"""The surroundings of a campaign: a new database, a fake mobile network, and real processes of the product."""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from tests.campaigns.shared.breakable_database import BreakableDatabase, breakable_database
from tests.campaigns.shared.web_process import WebProcess
from tests.fake_vonage import FakeVonage
from tests.network import new_id
from tests.processes import ROOT, SECRET, environment, running

DATABASES = ("sqlite", "postgres")


class Environment:
    """Everything around a campaign; all of it is removed at the end.

    Django is set up in this process, on the campaign's database and with `variables` as its environment. Processes of
    the product get the same variables. With `breaks_database` the database is one that can be stopped or whose disk
    can be filled (`breakable`). `random` draws from the seed, so that a run can be repeated.
    """

    def __init__(self, database: str, seed: int, *, breaks_database: bool = False) -> None:
        self.kind = database
        self._breaks_database = breaks_database
        self.breakable = BreakableDatabase()
        self.random = random.Random(seed)
        self._closing = ExitStack()
        self._logs = count(1)

    def __enter__(self) -> Self:
        self.folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory("-campaign")))
        self.network = self._closing.enter_context(FakeVonage(webhook={"secret": SECRET}))
        self.database = self._closing.enter_context(self._own_database())
        self.variables = environment(self.network, self.database) | {"TIME_ZONE": "UTC"}
        self._set_up_django()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        from django.db import connections

        connections.close_all()
        self._closing.close()

    @contextmanager
    def _own_database(self) -> Iterator[str]:
        if self._breaks_database:
            self.breakable = self._closing.enter_context(breakable_database(self.kind, self.folder))
        if self.breakable.url:
            yield self.breakable.url
            return
        if self.kind == "sqlite":
            yield f"sqlite:///{self.folder / 'campaign.sqlite3'}"
            return
        server = os.environ.get("TEST_DATABASE_URL", "").rpartition("/")[0]
        if not server:
            raise SystemExit(
                "Set TEST_DATABASE_URL to a PostgreSQL whose role may create databases."
            )
        name = f"campaign_{new_id('').lower()}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            try:
                yield f"{server}/{name}"
            finally:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _set_up_django(self) -> None:
        os.environ.update(self.variables, DJANGO_SETTINGS_MODULE="delivery_sms.settings")
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)

    def manage(self, *arguments: str) -> str:
        """Run a management command in a new process; returns its output. Raises AssertionError if it fails."""
        told = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise AssertionError(
                f"{' '.join(arguments)}: {told.stdout[-3000:]}{told.stderr[-3000:]}"
            )
        return told.stdout

    def contradictions(self) -> list[str]:
        """Return what the command `check_invariants` would print: what two checks in a row both find."""
        from bookings.operations.invariants import find_contradictions

        first = set(find_contradictions())
        return [line for line in find_contradictions() if line in first] if first else []

    def web(self, *, sends: bool = False) -> WebProcess:
        """Return the product's web server as a context manager, in which it runs; with a sender in it if it `sends`."""
        return WebProcess(self.variables, self.log("web"), sends=sends)

    @contextmanager
    def sender(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Start one sender."""
        log = self.log("sender")
        with running("run_outbox", *arguments, env=self.variables, log=log, shows=False) as process:
            yield process

    def log(self, name: str) -> Path:
        """Return the path of a new log file for a process."""
        return self.folder / f"{next(self._logs):03}-{name}.log"

    def logged(self) -> str:
        """Return what all processes have logged so far."""
        logs = sorted(self.folder.glob("*.log"))
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)
