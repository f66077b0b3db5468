"""Runs a benchmark on each kind of database, in a new process: Django can be set up once in a process."""

import os
import subprocess
import sys

from tests.campaigns.shared.environment import DATABASES


def on_each(benchmark: str, *arguments: str) -> int:
    """Run it on SQLite and, if TEST_DATABASE_URL is set, on PostgreSQL; returns the worst exit code."""
    kinds = DATABASES if os.environ.get("TEST_DATABASE_URL") else ("sqlite",)
    again = [sys.executable, "-m", f"benchmarks.{benchmark}", *arguments, "--database"]
    return max(subprocess.run([*again, kind], check=False).returncode for kind in kinds)
