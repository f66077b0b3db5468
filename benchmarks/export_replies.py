"""Time and memory of an export of replies, and time of their list.

    TEST_DATABASE_URL=postgres://user@host/any .venv/bin/python -m benchmarks.export_replies [--messages 340000]

Makes a new database, on PostgreSQL if TEST_DATABASE_URL names one, else on SQLite, and fills it with a history of so
many messages, three in ten of them replies. Each export runs in a new process, so that its peak of memory is measured
alone. The peak must stay about the same from 10,000 rows to 100,000.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from typing import Any

from benchmarks.check_invariants import fill
from tests.campaigns.shared.environment import DATABASES, Environment

_ROWS = (10_000, 100_000)
_KINDS = ("csv", "xlsx")
_LISTS = (
    *("", "q=customer 812", "q=B-812", "q=nothing like it", "outcome__exact=not_understood"),
    *("moved=yes", "moved=no", "seconds=5", "seconds=60", "seconds=none", "answer=failed"),
    *("answer=none", "digit=3", "language=en", "rule=digit", "received_from=2026-01-01"),
    *("delivery_from=2026-01-01", "attention=yes", "person=1"),
)
#: Bookings with a whole history, whose messages are copied until there are enough.
_SEED = 2_000
_FAR = 10_000_000


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=340_000, help="incoming and outgoing")
    parser.add_argument("--database", choices=DATABASES)
    parser.add_argument("--export", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        _export(options.export[0], int(options.export[1]))
        return 0
    database = options.database or ("postgres" if os.environ.get("TEST_DATABASE_URL") else "sqlite")
    with Environment(database, seed=1) as environment:
        fill(_SEED, environment.random)
        _multiply(options.messages)
        print(f"{database}, {options.messages:,} messages", flush=True)
        print("file      rows  seconds  peak MB", flush=True)
        for kind in _KINDS:
            for rows in _ROWS:
                asked = ["--export", kind, str(rows)]
                again = [sys.executable, "-m", "benchmarks.export_replies", *asked]
                subprocess.run(again, check=True, env=environment.variables)
        _time_lists()
    return 0


def _multiply(messages: int) -> None:
    """Copy every message, move and acknowledgement, with new keys, until there are so many messages."""
    from django.db import connection

    from bookings.models import InboundMessage, OutboundMessage, SlotChange

    have = InboundMessage.objects.count() + OutboundMessage.objects.count()
    times = max(messages // have - 1, 0)
    _copy(InboundMessage, times, moved=("id",), renamed=("key", "gateway_message_id"))
    _copy(
        OutboundMessage, times, moved=("id", "in_reply_to_id"), renamed=("ref", "idempotency_key")
    )
    _copy(SlotChange, times, moved=("id", "inbound_id"), renamed=())
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as PostgreSQL's autovacuum does within a minute


def _copy(model: Any, times: int, *, moved: tuple[str, ...], renamed: tuple[str, ...]) -> None:
    from django.db import connection

    table = model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields]
    new = {name: f"{name} + n * {_FAR}" for name in moved}
    new |= {name: f"n || '-' || substr({name}, 1, 18)" for name in renamed}
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(new.get(name, f'"{name}"') for name in columns)
    series = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {times})"
    with connection.cursor() as cursor:
        cursor.execute(f"{series} INSERT INTO {table} ({names}) SELECT {values} FROM {table}, s")


def _export(kind: str, rows: int) -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "delivery_sms.settings"
    django.setup()
    from bookings.models import InboundMessage
    from bookings.reporting import export

    began = time.perf_counter()
    keys = export.keys_of(InboundMessage.objects.order_by("-received_at")[:rows])
    make = {"csv": export.as_csv, "xlsx": export.as_xlsx}[kind]
    size = sum(map(len, make(InboundMessage, keys, "benchmark")))
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{kind:<5}{len(keys):>9,}{took:>9.1f}{peak:>9.0f}   ({size / 1e6:.1f} MB)", flush=True)


def _time_lists() -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("ops"))
    print("seconds  list of replies", flush=True)
    for query in ("", *_LISTS):  # the first is a warm-up
        began = time.perf_counter()
        response = client.get(
            f"/admin/bookings/inboundmessage/?{query}", headers={"host": "localhost"}
        )
        took = time.perf_counter() - began
        print(f"{took:>7.2f}  {query or 'all of it'} {response.status_code}", flush=True)
    began = time.perf_counter()
    client.get("/admin/bookings/outboundmessage/costs/", headers={"host": "localhost"})
    print(f"{time.perf_counter() - began:>7.2f}  what this month cost", flush=True)


if __name__ == "__main__":
    sys.exit(main())
