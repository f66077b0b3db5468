"""A benchmark on one kind of database after the other: Django is set up for one, and once."""

import os
import subprocess
import sys

from tests.campaigns.shared.environment import DATABASES


def on_each(benchmark: str, *arguments: str) -> int:
    """Run it on SQLite and, where TEST_DATABASE_URL names one, on PostgreSQL; returns its worst exit code."""
    kinds = DATABASES if os.environ.get("TEST_DATABASE_URL") else ("sqlite",)
    again = [sys.executable, "-m", f"benchmarks.{benchmark}", *arguments, "--database"]
    return max(subprocess.run([*again, kind], check=False).returncode for kind in kinds)
