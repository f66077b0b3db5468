"""`python -m tests.campaigns NAME`: one campaign, on one kind of database or on both."""

import argparse
import importlib
import secrets
import signal
import subprocess
import sys

from tests.campaigns.shared.environment import DATABASES, Environment
from tests.campaigns.shared.report import Report

NAMES = ("states", "fuzz", "kill", "race", "faults", "receipts", "soak", "slow")
#: They stop the database, or fill its disk.
BREAK_DATABASE = ("soak",)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run campaign", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--size", default="full", help="full (the default), small, or a number")
    parser.add_argument("--database", choices=DATABASES, help="one of the two; default: both")
    parser.add_argument("--seed", type=int, help="the seed that an earlier run printed")
    told = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # servers and disks are put away then, too
    seed = secrets.randbelow(10**6) if told.seed is None else told.seed
    if told.database is None:  # Django is set up for one database, and once
        again = [sys.executable, "-m", "tests.campaigns", told.name, "--size", told.size]
        return max(
            subprocess.run(
                [*again, "--database", kind, "--seed", str(seed)], check=False
            ).returncode
            for kind in DATABASES
        )
    return 0 if _run(told.name, told.size, told.database, seed) else 1


def _run(name: str, size: str, database: str, seed: int) -> bool:
    with Environment(database, seed, breaks_database=name in BREAK_DATABASE) as environment:
        campaign = importlib.import_module(f"tests.campaigns.{name}.campaign")
        sizes = {"full": campaign.FULL, "small": campaign.SMALL}
        number = sizes[size] if size in sizes else int(size)
        report = Report(f"{name}, size {number:,}, on {database}, --seed {seed}")
        try:
            campaign.run(environment, number, report)
        except BaseException:
            report.found("the campaign itself broke off")
            report.close()
            print(environment.logged()[-1500:], file=sys.stderr)
            raise
        return report.close()


if __name__ == "__main__":
    sys.exit(main())
