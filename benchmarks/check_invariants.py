"""Time of `check_invariants` on many messages, check by check.

    TEST_DATABASE_URL=postgres://user@host/any .venv/bin/python -m benchmarks.check_invariants [--messages 100000]

Each run makes a database of its own, on SQLite and, where TEST_DATABASE_URL names a PostgreSQL, on that too, and fills
it with a sound history: notifications, answers, moves, acknowledgements, attempts, parts and receipts of two weeks.
Seconds depend on the machine and its other users; each is also given
in plain reads of all outgoing messages and in CPU seconds.
"""

import argparse
import datetime as dt
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import islice
from typing import Any

from benchmarks.databases import on_each
from tests.campaigns.shared.environment import DATABASES, Environment

_AT_ONCE = 2000
_MESSAGES_PER_BOOKING = 2.5
_COST = Decimal("0.0333")
_DAYS = 14
_OPEN_FOR = dt.timedelta(days=2)
_SENT_TWICE, _HAS_ONE_RECEIPT = 0.03, 0.7  # by their share
#: Outcomes of the replies by their share; "" is no reply.
_REPLIES = {"moved": 45, "kept": 15, "not_understood": 15, "": 25}
_VIRTUAL_NUMBER = "447700900000"


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=100_000, help="incoming and outgoing")
    parser.add_argument("--database", choices=DATABASES, help="default: each that is available")
    options = parser.parse_args()
    if options.database is None:
        return on_each("check_invariants", "--messages", str(options.messages))
    with Environment(options.database, seed=1) as environment:
        bookings = round(options.messages / _MESSAGES_PER_BOOKING)
        fill(bookings, environment.random)
        return _measure(options.database)


def _measure(database: str) -> int:
    from django.conf import settings
    from django.db import connection

    from bookings.models import InboundMessage, OutboundMessage
    from bookings.operations.invariants import CHECKS

    settings.SMS_COUNTRIES = ["GB"]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # as its autovacuum does within a minute
    columns = ("pk", "kind", "state", "msisdn", "text", "booking", "due_at")
    rows = OutboundMessage.objects.order_by("pk").values_list(*columns)
    scan = min(_took(lambda: rows.iterator(chunk_size=_AT_ONCE))[0] for _ in range(3))
    messages = InboundMessage.objects.count() + OutboundMessage.objects.count()
    print(f"\n{database}: {messages:,} messages; a plain read of the outgoing ones {scan:.2f} s")
    print("  seconds    plain reads  of them on our own CPU")
    total, total_cpu, found = 0.0, 0.0, list[str]()
    for check in CHECKS:
        seconds, cpu, lines = _took(check)
        total, total_cpu, found = total + seconds, total_cpu + cpu, found + lines
        print(f"  {seconds:7.2f} s  {seconds / scan:7.1f} x  {cpu:7.2f} s  {check.__name__}")
    print(f"  {total:7.2f} s  {total / scan:7.1f} x  {total_cpu:7.2f} s  in all")
    print("\n".join([f"  {len(found)} contradictions", *found[:3]]))
    return 1 if found else 0


def _took(read: Callable[[], Iterable[Any]]) -> tuple[float, float, list[Any]]:
    """Return wall seconds, CPU seconds of this process (with SQLite all of them), and the rows."""
    began, cpu = time.monotonic(), time.process_time()
    rows = list(read())
    return time.monotonic() - began, time.process_time() - cpu, rows


def fill(bookings: int, chance: random.Random, *, days: int = _DAYS) -> None:
    """Create so many bookings, notified within the last days, with their whole history: 2.5 messages each."""
    from bookings.models import Consent, ConsentChange, Spending

    now = dt.datetime.now(dt.UTC)
    slots = _slots(now, days)
    spent: Counter[dt.date] = Counter()
    for first in range(0, bookings, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, bookings))
        _fill_some(numbers, slots, spent, now, days, chance)
    _create(Spending(day=day, amount=_COST * parts) for day, parts in spent.items())
    some = [_msisdn(number) for number in range(0, bookings, 100)]
    _create(Consent(msisdn=msisdn) for msisdn in some)
    _create(ConsentChange(msisdn=msisdn, is_opted_out=False, words="START") for msisdn in some)


def _msisdn(number: int) -> str:
    """Return a British mobile number, spread over the range."""
    return f"4473{number * 7919 % 10**8:08}"


def _create(rows: Iterable[Any]) -> list[Any]:
    made = []
    rows = iter(rows)
    while batch := list(islice(rows, _AT_ONCE)):
        made += type(batch[0]).objects.bulk_create(batch)
    return made


def _slots(now: dt.datetime, days_back: int) -> dict[tuple[dt.date, int, str], Any]:
    """Return slots by date, hour and place."""
    from bookings.models import Place, Slot

    days = [now.date() + dt.timedelta(days=day) for day in range(-days_back, 9)]
    made = _create(
        Slot(
            date=day,
            window_start=dt.time(hour),
            window_end=dt.time(hour + 3),
            place=place,
            capacity=10**6 if place == Place.DOOR else None,
        )
        for day in days
        for hour in (8, 11, 14, 17)
        for place in Place
    )
    return {(slot.date, slot.window_start.hour, slot.place): slot for slot in made}


def _fill_some(
    numbers: range,
    slots: dict[Any, Any],
    spent: Counter[dt.date],
    now: dt.datetime,
    days: int,
    chance: Any,
) -> None:
    """Create bookings with their whole history."""
    asked_at = [now - dt.timedelta(minutes=chance.randint(60, days * 1440)) for _ in numbers]
    hours = [chance.choice((8, 11, 14, 17)) for _ in numbers]
    outcomes = chance.choices(list(_REPLIES), list(_REPLIES.values()), k=len(numbers))
    offers = [_offer(slots, at.date(), hour) for at, hour in zip(asked_at, hours, strict=True)]
    bookings = _bookings(numbers, offers, outcomes)
    notifications = _notifications(bookings, offers, asked_at, now)
    options = _options(notifications, offers)
    replies = _replies(notifications, options, outcomes, asked_at)
    _note_moves(replies)
    messages = _messages(notifications, replies)
    spent.update(_handed_over(messages, chance))


def _offer(slots: dict[Any, Any], asked_on: dt.date, hour: int) -> tuple[Any, Any, Any]:
    """Return the slots of the options: as booked, the next day, the post office."""
    day = asked_on + dt.timedelta(days=3)
    next_day = day + dt.timedelta(days=1)
    return slots[day, hour, "door"], slots[next_day, hour, "door"], slots[day, hour, "post_office"]


def _bookings(numbers: range, offers: list[Any], outcomes: list[str]) -> list[Any]:
    from bookings.models import Booking

    return _create(
        Booking(
            reference=f"B-{number}",
            customer_name=f"Customer {number}",
            msisdn=_msisdn(number),
            slot=offer[1] if outcome == "moved" else offer[0],
        )
        for number, offer, outcome in zip(numbers, offers, outcomes, strict=True)
    )


def _notifications(
    bookings: list[Any], offers: list[Any], asked_at: list[dt.datetime], now: dt.datetime
) -> list[Any]:
    from bookings.models import Notification

    return _create(
        Notification(
            booking=booking,
            msisdn=booking.msisdn,
            virtual_number=_VIRTUAL_NUMBER,
            slot=offer[0],
            closes_at=at + _OPEN_FOR,
            **_state(at + _OPEN_FOR, now),
            handed_over_at=at,
            created_at=at,
        )
        for booking, offer, at in zip(bookings, offers, asked_at, strict=True)
    )


def _state(closes_at: dt.datetime, now: dt.datetime) -> dict[str, Any]:
    if closes_at > now:
        return {"state": "open", "closed_at": None}
    return {"state": "closed", "closed_at": closes_at}


def _options(notifications: list[Any], offers: list[Any]) -> list[Any]:
    from bookings.models import SlotOption

    return _create(
        SlotOption(
            notification=notification,
            msisdn=notification.msisdn,
            digit=digit,
            words=f"option {digit}",
            slot=slot,
            is_held=notification.state == "open",
        )
        for notification, offer in zip(notifications, offers, strict=True)
        for digit, slot in enumerate(offer, start=1)
    )


def _replies(
    notifications: list[Any], options: list[Any], outcomes: list[str], asked_at: list[dt.datetime]
) -> list[Any]:
    from bookings.models import InboundMessage

    chosen, came_to = {"kept": 0, "moved": 1}, {"kept": "kept", "moved": "another"}
    return _create(
        InboundMessage(
            msisdn=notification.msisdn,
            virtual_number=_VIRTUAL_NUMBER,
            text="2",
            received_at=at + dt.timedelta(minutes=7),
            outcome=outcome,
            booking=notification.booking,
            notification=notification,
            option=options[3 * place + chosen[outcome]] if outcome in chosen else None,
            chose=came_to.get(outcome, ""),
            raw={"msisdn": notification.msisdn, "text": "2", "type": "text"},
        )
        for place, (notification, outcome, at) in enumerate(
            zip(notifications, outcomes, asked_at, strict=True)
        )
        if outcome
    )


def _note_moves(replies: list[Any]) -> None:
    from bookings.models import Booking, SlotChange

    changes = _create(
        SlotChange(
            booking=reply.booking,
            from_slot=reply.notification.slot,
            to_slot=reply.option.slot,
            cause="reply",
            inbound=reply,
            created_at=reply.received_at,
        )
        for reply in replies
        if reply.outcome == "moved"
    )
    for change in changes:
        change.booking.changed_at = change.created_at
    Booking.objects.bulk_update([change.booking for change in changes], ["changed_at"])


def _messages(notifications: list[Any], replies: list[Any]) -> list[Any]:
    from bookings.models import OutboundMessage

    common: dict[str, Any] = {
        "sender": _VIRTUAL_NUMBER,
        "gateway": "simulator",
        "state": "delivered",
    }
    asked = [
        OutboundMessage(
            kind="notification",
            msisdn=notification.msisdn,
            text=f"Acme: {notification.booking.reference} comes soon. Reply 1, 2 or 3.",
            parts=2,
            booking=notification.booking,
            notification=notification,
            queued_at=notification.created_at,
            **common,
        )
        for notification in notifications
    ]
    told = [
        OutboundMessage(
            kind="re_prompt" if reply.option is None else "acknowledgement",
            msisdn=reply.msisdn,
            text=f"Acme: {reply.booking.slot}." if reply.option else "Acme: reply 1, 2 or 3.",
            booking=reply.booking,
            in_reply_to=reply,
            queued_at=reply.received_at,
            **common,
        )
        for reply in replies
    ]
    return _create(asked + told)


def _handed_over(messages: list[Any], chance: random.Random) -> Counter[dt.date]:
    """Create attempts, parts and receipts; returns how many parts cost something, by day."""
    from bookings.models import SendAttempt

    attempts = _create(
        SendAttempt(
            message=message,
            number=number,
            client_ref=f"{message.ref}-{number}",
            token=f"claim-{number}",
            call_started_at=message.queued_at,
            settled_at=message.queued_at,
            verdict="accepted" if is_last else "not_sent",
            state="delivered" if is_last else "queued",
            cost=_COST * message.parts if is_last else 0,
            spent_on=message.queued_at.date(),
            country="GB",
            counted_parts=message.parts if is_last else 0,
        )
        for message in messages
        for number, is_last in (
            [(1, False), (2, True)] if chance.random() < _SENT_TWICE else [(1, True)]
        )
    )
    taken = [attempt for attempt in attempts if attempt.verdict == "accepted"]
    parts = _parts(taken)
    _take_receipts(parts, chance)
    return Counter(part.attempt.spent_on for part in parts)


def _parts(taken: list[Any]) -> list[Any]:
    from bookings.models import SentPart

    return _create(
        SentPart(attempt=attempt, gateway_message_id=f"{attempt.client_ref}-{part}", price=_COST)
        for attempt in taken
        for part in range(attempt.counted_parts)
    )


def _take_receipts(parts: list[Any], chance: random.Random) -> None:
    from bookings.models import DeliveryReceipt

    _create(
        DeliveryReceipt(
            attempt=part.attempt,
            client_ref=part.attempt.client_ref,
            gateway_message_id=part.gateway_message_id,
            msisdn=part.attempt.message.msisdn,
            status=status,
            received_at=part.attempt.settled_at,
            raw={"status": status},
        )
        for part in parts
        for status in (
            ["delivered"] if chance.random() < _HAS_ONE_RECEIPT else ["accepted", "delivered"]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
