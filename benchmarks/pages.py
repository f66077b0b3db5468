"""Time of the staff's pages with 100,000 bookings and 500,000 messages.

    TEST_DATABASE_URL=postgres://user@host/pages .venv/bin/python -m benchmarks.pages [--bookings 100000]

The database is created and filled if it does not exist, and is kept: drop it when you are done. Its server must run on
this machine. The columns are: CPU milliseconds of web and database, which an idle machine takes for the page; those of
the database; queries; best and first (cold) wall milliseconds; and the CPU in times of an empty page.
"""

import argparse
import datetime as dt
import os
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

_DAYS = 30
_TIMES = 10
_AT_ONCE = 5000
_MOST = 300  # milliseconds
_WHY = ("The number is not in use.", "The phone was off for too long.", "The carrier refused it.")
_PAGES = {
    "an empty page": "/admin/password_change/done/",
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
    "outbound of a day": "/admin/bookings/outboundmessage/?queued_from={day}&queued_to={day}",
    "outbound not delivered": "/admin/bookings/outboundmessage/?trouble=lost",
    "what a month cost": "/admin/bookings/outboundmessage/costs/",
    "inbound messages": "/admin/bookings/inboundmessage/",
    "inbound of a day": "/admin/bookings/inboundmessage/?received_from={day}&received_to={day}",
    "inbound that moved": "/admin/bookings/inboundmessage/?moved=yes",
    "inbound, slow answers": "/admin/bookings/inboundmessage/?seconds=60",
    "inbound, answer failed": "/admin/bookings/inboundmessage/?answer=failed",
    "inbound, not understood": "/admin/bookings/inboundmessage/?outcome__exact=not_understood",
    "a number searched for": "/admin/bookings/outboundmessage/?q={msisdn}",
    "a number of nobody": "/admin/bookings/outboundmessage/?q=%2B447911123456",
    "a word of many texts": "/admin/bookings/inboundmessage/?q=thanks",
    "a word of none": "/admin/bookings/outboundmessage/?q=zebra",
    "a notification searched for": "/admin/bookings/notification/?q=zebra",
    "a receipt searched for": "/admin/bookings/deliveryreceipt/?q=zebra",
    "a move searched for": "/admin/bookings/slotchange/?q=zebra",
    "a booking searched for": "/admin/bookings/booking/?q=zebra",
    "needs attention": "/admin/bookings/ticket/",
    "not informed": "/admin/bookings/booking/unaware/?day={day}",
    "receipts": "/admin/bookings/deliveryreceipt/",
    "slot changes": "/admin/bookings/slotchange/",
    "notify form": "/",
}


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--bookings", type=int, default=100_000)
    options = parser.parse_args()
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

    if Booking.objects.count() < options.bookings:
        _fill(options.bookings)
    return _measure()


def _fill(bookings: int) -> None:
    """Create five messages for each booking, some lost and some waiting, in the order of production."""
    from benchmarks.check_invariants import fill
    from bookings.models import Booking, Sender

    chance = random.Random(1)
    fill(bookings, chance, days=_DAYS)
    now = dt.datetime.now(dt.UTC)
    every = Booking.objects.order_by("pk").values_list("pk", "msisdn")
    for first in range(0, bookings, _AT_ONCE):
        _fill_more(every[first : first + _AT_ONCE], now, chance)
    _hand_over()
    _lose_some()
    _leave_some_waiting(now.date())
    Sender.objects.get_or_create(name="benchmark 1")
    _lay_out()


def _hand_over() -> None:
    """Hand over each text some seconds after it was queued, and reminders after their notifications."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(  # as in real life, in the order of their ids
            "UPDATE bookings_outboundmessage told SET queued_at ="
            " greatest(told.queued_at, asked.handed_over_at + interval '2 hours')"
            " FROM bookings_notification asked"
            " WHERE told.kind = 'told' AND asked.booking_id = told.booking_id"
        )
        cursor.execute(
            "UPDATE bookings_outboundmessage SET parts = 1 + id % 2,"
            " call_started_at = queued_at + interval '1 second' * (1 + id % 9)"
        )
        cursor.execute(
            "UPDATE bookings_sendattempt"
            " SET country = (ARRAY['GB', 'GB', 'IE', 'FR'])[1 + message_id % 4]"
        )


def _lose_some() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for number, why in enumerate(_WHY):
            cursor.execute(
                "UPDATE bookings_outboundmessage SET state = 'failed', reason = %s WHERE id %% 97 = %s",
                [why, number],
            )


def _leave_some_waiting(today: dt.date) -> None:
    """Open tickets for 300 notifications of future deliveries; 200 of these are still queued."""
    from bookings.models import Booking, OutboundMessage, Ticket

    some = Booking.objects.filter(slot__date__gte=today).order_by("pk")
    waiting = OutboundMessage.objects.filter(booking__in=some[:300], kind="notification")
    Ticket.objects.bulk_create(
        Ticket(
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


def _lay_out() -> None:
    """Store rows in the order of their days, as in production, and update the database's statistics."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'bookings_booking'"
            " AND indexdef LIKE '%%(slot_id)'"
        )
        indexes = {
            "booking": cursor.fetchall()[0][0],
            "inboundmessage": "inbound_by_time",
            "outboundmessage": "outbound_by_time",
            "sendattempt": "attempt_by_time",
            "deliveryreceipt": "receipt_by_time",
        }
        for table, index in indexes.items():
            cursor.execute(f"CLUSTER bookings_{table} USING {index}")
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
    from django.db import connection
    from django.test import Client

    from bookings.models import Booking, InboundMessage, OutboundMessage, Sender

    Sender.objects.update(seen_at=dt.datetime.now(dt.UTC))
    with connection.cursor() as cursor:
        cursor.execute("SET jit = off")  # as the web server does
        cursor.execute("SET max_parallel_workers_per_gather = 0")  # they would be counted nowhere
    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    print(f"{Booking.objects.count():,} bookings, ", end="")
    print(f"{InboundMessage.objects.count() + OutboundMessage.objects.count():,} messages\n")
    print("CPU ms  database  queries  by the clock  cold  times the frame")
    keys = {
        "booking": Booking.objects.filter(slot_changes__isnull=False).order_by("-pk")[0].pk,
        "outbound": OutboundMessage.objects.order_by("-pk")[1000].pk,
        "msisdn": OutboundMessage.objects.order_by("-pk")[1000].msisdn,
        "day": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    frame = 0.0
    slow = []
    for name, address in _PAGES.items():
        headers = {"X-Requested-With": "fetch"} if name.endswith("refreshed") else {}
        ours, database, clock, queries = _took(client, address.format(**keys), headers)
        whole = ours + database
        frame = frame or whole
        slow += [name] if whole > _MOST else []
        print(f"{whole:6.0f} {database:9.0f} {queries:8} {min(clock[1:]):13.0f}", end="")
        print(f" {clock[0]:5.0f} {whole / frame:14.1f} x   {name}")
    print(f"\nOver {_MOST} ms: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


def _took(
    client: Any, address: str, headers: dict[str, str]
) -> tuple[float, float, list[float], int]:
    """Return CPU milliseconds per view of web and database, the wall milliseconds of each view, and its queries."""
    from django.db import connection

    clock, queries = [_clock(client, address, headers)], list[str]()

    def note(execute: Any, sql: str, *arguments: Any) -> Any:
        queries.append(sql)
        return execute(sql, *arguments)

    with connection.execute_wrapper(note):
        client.get(address, headers=headers)
    pid = connection.connection.info.backend_pid
    ours, theirs = time.process_time(), _cpu_of(pid)
    clock += [_clock(client, address, headers) for _ in range(_TIMES)]
    ours, theirs = time.process_time() - ours, _cpu_of(pid) - theirs
    return 1000 * ours / _TIMES, 1000 * theirs / _TIMES, clock, len(queries)


def _clock(client: Any, address: str, headers: dict[str, str]) -> float:
    began = time.perf_counter()
    response = client.get(address, headers=headers)
    assert response.status_code == 200, (address, response.status_code)
    return 1000 * (time.perf_counter() - began)


def _cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process of this machine has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
