"""Where a campaign plays that breaks its own database."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.shared.postgres_server import Cluster, programs
from tests.campaigns.shared.small_disk import SmallDisk


@dataclass
class Place:
    """A database at `url`, and what of it can be broken. None: it cannot, and `skipped` says why."""

    url: str = ""
    cluster: Cluster | None = None
    disk: SmallDisk | None = None
    skipped: list[str] = field(default_factory=list)


@contextmanager
def breakable(kind: str, folder: Path) -> Iterator[Place]:
    """A place for this kind of database. `url` is empty where PostgreSQL can only be a guest on another's server.

    With CI in the environment that ends the campaign: there nothing may be left out.
    """
    place = Place()
    with ExitStack() as closing:
        try:
            place.disk = closing.enter_context(SmallDisk(folder))
        except OSError as error:
            place.skipped.append(f"full disk: {error}")
        data = place.disk.path if place.disk else folder
        if kind == "sqlite":
            place.url = f"sqlite:///{data / 'campaign.sqlite3'}"
        elif programs():
            folder.chmod(0o711)  # the server runs as another user
            own = data / "postgres" if place.disk else None
            if own:
                own.mkdir()
            place.cluster = closing.enter_context(Cluster(folder / "postgres", own))
            place.url = place.cluster.url
        elif os.environ.get("CI"):
            raise SystemExit("CI: initdb is needed, so that PostgreSQL can be stopped.")
        else:
            place.skipped.append("stopped PostgreSQL: initdb is not here")
            place.disk = None
        yield place
