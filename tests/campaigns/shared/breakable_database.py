"""Where a campaign plays that breaks its own database."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.shared.postgres_server import PostgresServer, programs
from tests.campaigns.shared.small_disk import SmallDisk


@dataclass
class BreakableDatabase:
    """A database at `url`, and what of it can be broken. None: it cannot, and `skipped` says why."""

    url: str = ""
    postgres: PostgresServer | None = None
    disk: SmallDisk | None = None
    skipped: list[str] = field(default_factory=list)


@contextmanager
def breakable_database(kind: str, folder: Path) -> Iterator[BreakableDatabase]:
    """A found for this kind of database. `url` is empty where PostgreSQL can only be a guest on another's server.

    With CI in the environment that ends the campaign: there nothing may be left out.
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
