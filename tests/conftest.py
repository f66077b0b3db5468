"""Choose the tests of a run, and how each kind of database is emptied between two tests.

A run that names no path takes the fast selection; `--all` takes everything.
"""

import os
from pathlib import Path

import pytest
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent
#: Folders that only `--all` runs.
SLOW = ("browser", "campaigns")

# `./run test` says so; with CI=true nothing is left out.
if not Path("/usr/bin/chromium").exists() and os.environ.get("CI") != "true":
    collect_ignore = ["browser"]


def pytest_addoption(parser):
    parser.addoption(
        "--all",
        action="store_true",
        help="also browser and campaigns, and on PostgreSQL all but tests/unit",
    )


def pytest_xdist_auto_num_workers(config):
    """Start a worker more than there are cores, since some tests wait; none for named paths, which take less."""
    return 0 if names_paths(config) else (os.cpu_count() or 1) + 1


class Scheduling(LoadScopeScheduling):
    """Sends each test to a free worker, and a module of browser tests to one worker, with one browser."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith("tests/browser/") else nodeid


def pytest_xdist_make_scheduler(config, log):
    """Distribute the tests by `Scheduling`."""
    return Scheduling(config, log)


def pytest_ignore_collect(collection_path, config):
    if names_paths(config) or config.getoption("all"):
        return None
    return True if collection_path in {TESTS / folder for folder in SLOW} else None


def pytest_collection_modifyitems(config, items):
    """Leave out on PostgreSQL what has been proved on SQLite."""
    if names_paths(config) or connection.vendor == "sqlite":
        return
    runs = is_not_pure if config.getoption("all") else concerns_database
    left_out = [item for item in items if not runs(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if runs(item)]


def names_paths(config) -> bool:
    return config.args_source is pytest.Config.ArgsSource.ARGS


def is_not_pure(item) -> bool:
    return TESTS / "unit" not in item.path.parents


def concerns_database(item) -> bool:
    return TESTS / "races" in item.path.parents or bool(item.get_closest_marker("database"))


def delete_rows(self, style, tables, *, reset_sequences=False, allow_cascade=False):
    """Return the statements that empty these tables, in place of TRUNCATE.

    TRUNCATE makes new files for each of the tables and their indexes, which takes a second; most are empty.
    """
    assert not reset_sequences
    delete = style.SQL_KEYWORD("DELETE FROM")
    return [f"{delete} {self.quote_name(table)}" for table in tables]


DatabaseOperations.sql_flush = delete_rows  # type: ignore[method-assign]  # meant
