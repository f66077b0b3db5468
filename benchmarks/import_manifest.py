"""Time of an import as the browser does it: preview, import slice by slice, and the same file again.

    TEST_DATABASE_URL=postgres://user@host/any .venv/bin/python -m benchmarks.import_manifest [--rows 10000]

Each run makes a new database, on SQLite and, where TEST_DATABASE_URL names a PostgreSQL, on that too. Then the same
rows are moved by one day each, which locks every booking. Seconds depend on the machine and its load.
"""

import argparse
import csv
import datetime as dt
import io
import sys
import time
from typing import Any

from benchmarks.databases import on_each
from tests.campaigns.shared.environment import DATABASES, Environment

_HEADER = ["reference", "customer_name", "phone", "date", "window_start", "window_end"]


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--database", choices=DATABASES, help="default: each that is available")
    options = parser.parse_args()
    if options.database is None:
        return on_each("import_manifest", "--rows", str(options.rows))
    with Environment(options.database, seed=1):
        return _measure(options.database, options.rows)


def _measure(database: str, count: int) -> int:
    from django.contrib.auth.models import User

    user = User.objects.create(username="benchmark", is_staff=True)
    print(f"\n{database}: {count:,} rows")
    print("   looked at    imported   longest request    requests")
    results = [
        _run("new", _file(count, 2), user),
        _run("the same file again", _file(count, 2), user),
        _run("all moved by a day", _file(count, 3), user),
    ]
    expected = [("created", count), ("unchanged", count), ("changed", count)]
    return 0 if all(got[name] == n for got, (name, n) in zip(results, expected, strict=True)) else 1


def _run(what: str, content: bytes, user: Any) -> dict[str, int]:
    """Preview a file and import it as the page does, request by request; returns the counts of its rows."""
    from bookings.dispatch.imports import stepwise
    from bookings.models import ManifestState

    began = time.monotonic()
    manifest = stepwise.preview_import("benchmark.csv", content, user)
    looked = time.monotonic()
    requests = [_took(lambda: stepwise.start_import(manifest, user))]
    manifest.refresh_from_db()
    while manifest.state == ManifestState.RUNNING:
        requests.append(_took(lambda: stepwise.continue_import(manifest, user)))
    took = time.monotonic() - looked
    print(
        f"  {looked - began:8.2f} s  {took:8.2f} s  {max(requests):13.2f} s  {len(requests):10}  {what}"
    )
    counts: dict[str, int] = manifest.counts
    return counts


def _took(act: Any) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def _file(count: int, days: int) -> bytes:
    """Return a CSV of deliveries over a week with eight windows a day."""
    first = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(_HEADER)
    for number in range(count):
        date, hour = first + dt.timedelta(days=number % 7), 8 + number // 7 % 8
        phone = f"+4473{number * 7919 % 10**8:08}"
        name = f"Customer {number}"
        rows.writerow(
            [f"B-{number}", name, phone, date.isoformat(), f"{hour:02}:00", f"{hour + 1:02}:00"]
        )
    return text.getvalue().encode()


if __name__ == "__main__":
    sys.exit(main())
