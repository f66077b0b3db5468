"""Run one campaign, on one kind of database or on both: `python -m tests.campaigns NAME`."""

import argparse
import importlib
import secrets
import signal
import subprocess
import sys

from tests.campaigns.shared.environment import DATABASES, Environment
from tests.campaigns.shared.report import Report

NAMES = ("states", "fuzz", "kill", "race", "faults", "receipts", "soak", "slow")
#: Campaigns that stop the database or fill its disk.
BREAK_DATABASE = ("soak",)


def main() -> int:
    """Run the campaign that the arguments name; returns the exit code."""
    parser = argparse.ArgumentParser(prog="./run campaign", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--size", default="full", help="full (the default), small, or a number")
    parser.add_argument("--database", choices=DATABASES, help="default: both")
    parser.add_argument("--seed", type=int, help="the seed that an earlier run printed")
    options = parser.parse_args()
    # SystemExit, so that servers and disks are removed after a SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    if options.database is None:  # Django can be set up once in a process
        again = [sys.executable, "-m", "tests.campaigns", options.name, "--size", options.size]
        return max(
            subprocess.run(
                [*again, "--database", kind, "--seed", str(seed)], check=False
            ).returncode
            for kind in DATABASES
        )
    return 0 if _run(options.name, options.size, options.database, seed) else 1


def _run(name: str, size: str, database: str, seed: int) -> bool:
    with Environment(database, seed, breaks_database=name in BREAK_DATABASE) as environment:
        campaign = importlib.import_module(f"tests.campaigns.{name}.campaign")
        sizes = {"full": campaign.FULL, "small": campaign.SMALL}
        number = sizes[size] if size in sizes else int(size)
        report = Report(f"{name}, size {number:,}, on {database}, --seed {seed}")
        try:
            campaign.run(environment, number, report)
        except BaseException:
            report.found("the campaign itself failed")
            report.close()
            print(environment.logged()[-1500:], file=sys.stderr)
            raise
        return report.close()


if __name__ == "__main__":
    sys.exit(main())
