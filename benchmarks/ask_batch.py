"""Time for the senders to notify the customers of a batch, and the queries for each customer.

    TEST_DATABASE_URL=postgres://user@host/any .venv/bin/python -m benchmarks.ask_batch [--customers 300]

Each run makes a new database, on SQLite and, where TEST_DATABASE_URL names a PostgreSQL, on that too, and fills it with
a history of 50,000 messages. Customers are notified as a sender does it: a few at a time. Nothing is sent.
"""

import argparse
import datetime as dt
import sys
import time
from collections import Counter
from typing import Any

from benchmarks.check_invariants import fill
from benchmarks.databases import on_each
from tests.campaigns.shared.environment import DATABASES, Environment

_HISTORY = 20_000  # bookings, with 2.5 messages each
_DAYS, _PLACES = 3, 2000  # of the batch, and for how many deliveries each of its slots is


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--customers", type=int, default=300)
    parser.add_argument("--history", type=int, default=_HISTORY, help="bookings in the history")
    parser.add_argument("--database", choices=DATABASES, help="default: each that is available")
    options = parser.parse_args()
    if options.database is None:
        size = ("--history", str(options.history), "--customers", str(options.customers))
        return on_each("ask_batch", *size)
    with Environment(options.database, seed=1) as environment:
        fill(options.history, environment.random)
        return _measure(options.database, options.customers)


def _measure(database: str, count: int) -> int:
    from django.db import connection

    from bookings.models import Notification
    from bookings.operations.maintenance import ask_some

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # as its autovacuum does within a minute
    before = Notification.objects.count()
    _start(count)
    verbs: Counter[str] = Counter()

    def note(execute: Any, sql: str, *arguments: Any) -> Any:
        verbs[sql.split(maxsplit=1)[0]] += 1
        return execute(sql, *arguments)

    began, cpu = time.monotonic(), time.process_time()
    with connection.execute_wrapper(note):
        while ask_some():
            pass
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    asked = Notification.objects.count() - before
    print(f"\n{database}: {asked} of {count} customers asked")
    print(f"  {took:.1f} s by the clock, {cpu:.1f} s on our own CPU")
    print(
        f"  {1000 * took / count:.1f} ms and {verbs.total() / count:.1f} queries for each:", end=""
    )
    print(*(f" {number / count:.1f} {verb}" for verb, number in verbs.most_common()), sep=",")
    return 0 if asked == count else 1


def _start(count: int) -> None:
    """Create a batch for customers of three days."""
    from django.contrib.auth.models import User

    from bookings.models import Booking, Slot
    from bookings.notifications import batches

    first = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=10)
    slots = Slot.objects.bulk_create(
        Slot(
            date=first + dt.timedelta(days=day),
            window_start=dt.time(hour),
            window_end=dt.time(hour + 2),
            capacity=_PLACES,
        )
        for day in range(_DAYS)
        for hour in (8, 10, 12, 14)
    )
    made = Booking.objects.bulk_create(
        Booking(
            reference=f"N-{number}",
            customer_name=f"Customer {number}",
            msisdn=f"4475{number:08}",
            slot=slots[number % len(slots)],
        )
        for number in range(count)
    )
    batches.start_batch(
        Booking.objects.filter(pk__in=[booking.pk for booking in made]),
        nonce="benchmark",
        user=User.objects.create(username="benchmark", is_staff=True),
        sender="447700900000",
    )


if __name__ == "__main__":
    sys.exit(main())
