"""How long the pages of staff take with 100,000 bookings and 500,000 messages.

    TEST_DATABASE_URL=postgres://user@host/pages .venv/bin/python -m benchmarks.pages [--bookings 100000]

The database is made and filled if it is not there yet, and stays: drop it when you are done. For each page: the
best and the median of the server's milliseconds, the best of the database, its queries, and the best in times of the page
that shows nothing but what is around each page. On a busy machine the best is nearest to the truth. The first view of a
process (cold) stands apart: it fills caches.
"""
# ruff: noqa: PLC0415, PLR2004, S101, T201  Django is set up on the benchmark's own database before anything of it can be imported.

import argparse
import datetime as dt
import os
import random
import statistics
import time
from contextlib import suppress
from typing import Any

import psycopg

_DAYS = 30
_TIMES = 7
_AT_ONCE = 5000
_MOST = 300  # milliseconds
_WHY = ("The number is not in use.", "The phone was off for too long.", "The carrier refused it.")
_PAGES = {
    "nothing but the frame": "/admin/password_change/done/",
    "dashboard": "/admin/",
    "dashboard, 7 days": "/admin/?since=7d",
    "dashboard, refreshed": "/admin/",
    "bookings": "/admin/bookings/booking/",
    "bookings of tomorrow": "/admin/bookings/booking/?day=tomorrow&state__exact=scheduled",
    "bookings not reached": "/admin/bookings/booking/?day=tomorrow&asked=not_reached",
    "one booking": "/admin/bookings/booking/{booking}/change/",
    "slots": "/admin/bookings/slot/",
    "notifications": "/admin/bookings/notification/",
    "outbound messages": "/admin/bookings/outboundmessage/",
    "one outbound message": "/admin/bookings/outboundmessage/{outbound}/change/",
    "inbound messages": "/admin/bookings/inboundmessage/",
    "receipts": "/admin/bookings/deliveryreceipt/",
    "slot changes": "/admin/bookings/slotchange/",
    "notify form": "/",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--bookings", type=int, default=100_000)
    told = parser.parse_args()
    server, _, name = os.environ["TEST_DATABASE_URL"].rpartition("/")
    with (
        psycopg.connect(f"{server}/postgres", autocommit=True) as admin,
        suppress(psycopg.errors.DuplicateDatabase),
    ):
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from bookings.models import Booking

    if Booking.objects.count() < told.bookings:
        _fill(told.bookings)
    return _measure()


def _fill(bookings: int) -> None:
    """Five messages for each booking: question, reply, answer, a reminder and thanks; some lost, some waiting."""
    from django.db import connection

    from benchmarks.check_invariants import fill
    from bookings.models import Booking, Concern, OutboundMessage, Sender

    chance = random.Random(1)  # noqa: S311
    fill(bookings, chance, days=_DAYS)
    now = dt.datetime.now(dt.UTC)
    every = Booking.objects.order_by("pk").values_list("pk", "msisdn")
    for first in range(0, bookings, _AT_ONCE):
        _fill_more(every[first : first + _AT_ONCE], now, chance)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE bookings_outboundmessage SET parts = 1 + id % 2,"
            " call_started_at = queued_at + interval '1 second' * (1 + id % 9)"
        )
        for number, why in enumerate(_WHY):
            cursor.execute(
                "UPDATE bookings_outboundmessage SET state = 'failed', reason = %s WHERE id %% 97 = %s",
                [why, number],
            )
    some = Booking.objects.filter(slot__date__gte=now.date()).order_by("pk")
    waiting = OutboundMessage.objects.filter(booking__in=some[:300], kind="notification")
    Concern.objects.bulk_create(
        Concern(
            kind="not_sent",
            reason="Not delivered.",
            msisdn=text.msisdn,
            booking_id=text.booking_id,
            outbound=text,
        )
        for text in waiting
    )
    OutboundMessage.objects.filter(pk__in=[text.pk for text in waiting[:200]]).update(
        state="queued"
    )
    Sender.objects.get_or_create(name="benchmark 1")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as autovacuum does by itself


def _fill_more(bookings: Any, now: dt.datetime, chance: random.Random) -> None:
    from bookings.models import InboundMessage, OutboundMessage

    rows = [(pk, msisdn, _moment(now, chance)) for pk, msisdn in bookings]
    common: dict[str, Any] = {"sender": "447700900000", "gateway": "simulator"}
    OutboundMessage.objects.bulk_create(
        OutboundMessage(
            kind="told",
            msisdn=msisdn,
            booking_id=pk,
            text="Acme: your parcel comes soon.",
            state="delivered",
            queued_at=at,
            **common,
        )
        for pk, msisdn, at in rows
    )
    InboundMessage.objects.bulk_create(
        InboundMessage(
            msisdn=msisdn,
            virtual_number="447700900000",
            booking_id=pk,
            text="thanks",
            outcome="thanks",
            received_at=at,
        )
        for pk, msisdn, at in [*rows, *rows[::2]]
    )


def _moment(now: dt.datetime, chance: random.Random) -> dt.datetime:
    return now - dt.timedelta(minutes=chance.randint(1, _DAYS * 1440))


def _measure() -> int:
    from django.contrib.auth.models import User
    from django.test import Client

    from bookings.models import Booking, InboundMessage, OutboundMessage, Sender

    Sender.objects.update(seen_at=dt.datetime.now(dt.UTC))
    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    print(f"{Booking.objects.count():,} bookings, ", end="")
    print(f"{InboundMessage.objects.count() + OutboundMessage.objects.count():,} messages\n")
    print("best ms  median ms  database ms  queries  cold ms  times the frame")
    keys = {
        "booking": Booking.objects.filter(slot_changes__isnull=False).order_by("-pk")[0].pk,
        "outbound": OutboundMessage.objects.order_by("-pk")[1000].pk,
    }
    frame = 0.0
    slow = []
    for name, address in _PAGES.items():
        headers = {"X-Requested-With": "fetch"} if name.endswith("refreshed") else {}
        wholes, databases, queries = _took(client, address.format(**keys), headers)
        (cold, *warm), database = wholes, min(databases[1:])
        best, median = min(warm), statistics.median(warm)
        frame = frame or best
        slow += [name] if best > _MOST else []
        print(f"{best:7.0f} {median:10.0f} {database:12.0f} {queries:8}", end="")
        print(f" {cold:8.0f} {best / frame:14.1f} x   {name}")
    print(f"\nOver {_MOST} ms: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


def _took(
    client: Any, address: str, headers: dict[str, str]
) -> tuple[list[float], list[float], int]:
    """Milliseconds of each view, those of the database, and the queries of one."""
    from django.db import connection

    spent: list[float] = []

    def timed(execute: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            spent.append(1000 * (time.perf_counter() - began))

    wholes, databases = [], []
    for _ in range(1 + _TIMES):
        spent.clear()
        began = time.perf_counter()
        with connection.execute_wrapper(timed):
            response = client.get(address, headers=headers)
        wholes.append(1000 * (time.perf_counter() - began))
        databases.append(sum(spent))
        assert response.status_code == 200, (address, response.status_code)
    return wholes, databases, len(spent)


if __name__ == "__main__":
    raise SystemExit(main())
