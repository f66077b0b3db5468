"""Databases that a campaign may break: stop the server, fill the disk."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.shared.postgres_server import PostgresServer, programs
from tests.campaigns.shared.small_disk import SmallDisk


@dataclass
class BreakableDatabase:
    """A database at `url`. `postgres` and `disk` are None if they cannot be broken; `skipped` says why."""

    url: str = ""
    postgres: PostgresServer | None = None
    disk: SmallDisk | None = None
    skipped: list[str] = field(default_factory=list)


@contextmanager
def breakable_database(kind: str, folder: Path) -> Iterator[BreakableDatabase]:
    """Make a database of this kind. `url` is empty if no PostgreSQL server can be started here.

    With CI set in the environment that raises SystemExit: CI must not leave anything out.
    """
    found = BreakableDatabase()
    with ExitStack() as closing:
        try:
            found.disk = closing.enter_context(SmallDisk(folder))
        except OSError as error:
            found.skipped.append(f"full disk: {error}")
        data = found.disk.path if found.disk else folder
        if kind == "sqlite":
            found.url = f"sqlite:///{data / 'campaign.sqlite3'}"
        elif programs():
            folder.chmod(0o711)  # the server runs as another user
            own = data / "postgres" if found.disk else None
            if own:
                own.mkdir()
            found.postgres = closing.enter_context(PostgresServer(folder / "postgres", own))
            found.url = found.postgres.url
        elif os.environ.get("CI"):
            raise SystemExit("CI: initdb is needed, so that PostgreSQL can be stopped.")
        else:
            found.skipped.append("stopped PostgreSQL: initdb is not here")
            found.disk = None
        yield found
