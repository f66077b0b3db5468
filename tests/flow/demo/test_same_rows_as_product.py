"""The demo writes its rows in bulk; the product, given the same events at the same times, writes the same rows."""

import io
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import transaction

from bookings.dispatch import bookings as dispatch
from bookings.dispatch import notices
from bookings.gateways import InboundSMS, PartResult, SendResult, Verdict
from bookings.models import (
    Booking,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    Notification,
    OutboundMessage,
    Outcome,
    SendAttempt,
    SentPart,
    Slot,
    SlotChange,
    SlotOption,
    Ticket,
)
from bookings.notifications import asking
from bookings.outbox import delivery_receipts, sending
from bookings.outbox.claiming import claim
from bookings.replies import service
from bookings.web.webhooks.payloads import parse_receipt

pytestmark = pytest.mark.django_db

START = "2026-11-23T12:00:00Z"
#: Each table with what finds a customer's rows in it.
TABLES: dict[Any, str] = {
    Booking: "msisdn",
    Notification: "msisdn",
    SlotOption: "msisdn",
    InboundMessage: "msisdn",
    OutboundMessage: "msisdn",
    SendAttempt: "message__msisdn",
    SentPart: "attempt__message__msisdn",
    DeliveryReceipt: "msisdn",
    SlotChange: "booking__msisdn",
    ConsentChange: "msisdn",
    Ticket: "msisdn",
}
#: Drawn by chance, ids of other rows, moments of the machine's own, and what staff did later.
LEFT_OUT = {
    *("id", "key", "ref", "token", "client_ref", "idempotency_key", "gateway_message_id"),
    *("queued_at", "due_at", "settled_at", "message", "attempt", "receipt", "user", "raw"),
    *("owner", "taken_at", "settlement", "settled_by", "inbound", "outbound", "in_reply_to"),
    *("asked_by", "imported", "cancelled_by"),
}


def told(row):
    """Describe a row by its values and the names of the rows that it refers to."""
    fields = [field for field in row._meta.fields if field.name not in LEFT_OUT]
    values = {field.name: getattr(row, field.name) for field in fields}
    return {name: str(value) if hasattr(value, "pk") else value for name, value in values.items()}


def rows_of(msisdn):
    return {
        table: [told(row) for row in table.objects.filter(**{by: msisdn}).order_by("pk")]
        for table, by in TABLES.items()
    }


class Past:
    """The events of one demo customer, with their times."""

    def __init__(self, msisdn):
        self.rows = rows_of(msisdn)
        self.bookings = list(Booking.objects.filter(msisdn=msisdn))
        changes = SlotChange.objects.filter(booking__in=self.bookings)
        first = changes.order_by("pk").select_related("from_slot").first()
        self.slot = first.from_slot if first else self.bookings[0].slot
        self.moves = list(changes.filter(cause="staff").select_related("to_slot"))
        self.asked = list(Notification.objects.filter(msisdn=msisdn).order_by("pk"))
        self.replies = list(InboundMessage.objects.filter(msisdn=msisdn).order_by("pk"))
        self.attempts = [
            (attempt, list(attempt.parts.all()))
            for attempt in SendAttempt.objects.filter(message__msisdn=msisdn).order_by(
                "call_started_at"
            )
        ]
        self.receipts = list(DeliveryReceipt.objects.filter(msisdn=msisdn).order_by("pk"))
        self.slots = list(Slot.objects.filter(place="door"))

    def events(self):
        """Return the actions of people and of the network, ordered by time."""
        return sorted(
            [
                *((row.created_at, self.ask) for row in self.asked),
                *((row.created_at, self.move) for row in self.moves),
                *((row.call_started_at, self.call) for row, _ in self.attempts),
                *((row.received_at, self.receive) for row in self.receipts),
                *((row.received_at, self.reply) for row in self.replies),
            ],
            key=lambda event: event[0],
        )

    def happen(self):
        """Repeat the events with the product, in an empty database."""
        for slot in self.slots:
            Slot.objects.create(
                **{f: getattr(slot, f) for f in ("date", "window_start", "window_end", "capacity")}
            )
        (then,) = self.bookings
        values = {
            name: getattr(then, name)
            for name in ("reference", "customer_name", "msisdn", "language", "notes", "created_at")
        }
        key = {name: getattr(self.slot, name) for name in ("date", "window_start", "place")}
        self.booking = Booking.objects.create(slot=Slot.objects.get(**key), **values)
        self.left = {
            name: iter(rows) for name, rows in vars(self).items() if isinstance(rows, list)
        }
        for moment, act in self.events():
            with time_machine.travel(moment, tick=False):
                act()
        with time_machine.travel(START, tick=False):
            asking.close_past()

    def ask(self):
        next(self.left["asked"])
        asking.notify(Booking.objects.get())

    def move(self):
        to = next(self.left["moves"]).to_slot
        slot = Slot.objects.get(date=to.date, window_start=to.window_start, place=to.place)
        dispatch.move(Booking.objects.get(), slot)
        notices.send_notice(Booking.objects.get())

    def call(self):
        attempt, parts = next(self.left["attempts"])
        (message,) = claim(1).messages
        started = sending.start_call(message)
        assert started is not None
        self.refs = {**getattr(self, "refs", {}), attempt.client_ref: started.client_ref}
        results = tuple(
            PartResult(
                message_id=part.gateway_message_id,
                status="0",
                price=f"{part.price:.8f}",
                network=part.network,
            )
            for part in parts
        )
        sending.settle(started, SendResult(verdict=Verdict.ACCEPTED, code="0", parts=results))

    def receive(self):
        row = next(self.left["receipts"])
        fields = row.raw | {"client-ref": self.refs[row.client_ref]}
        stored = DeliveryReceipt.objects.store(parse_receipt(fields))
        assert stored is not None
        delivery_receipts.process(stored)

    def reply(self):
        row = next(self.left["replies"])
        sms = InboundSMS(
            gateway_message_id=row.gateway_message_id,
            msisdn=row.msisdn,
            virtual_number=row.virtual_number,
            text=row.text,
            type=row.type,
            sent_at=row.sent_at,
            raw=row.raw,
        )
        service.answer(sms)


def single(numbers):
    """Return the first number with one delivery, no text by staff, and no consent recorded by staff."""
    for number in numbers:
        written = OutboundMessage.objects.filter(msisdn=number, kind="staff")
        recorded = ConsentChange.objects.filter(msisdn=number).exclude(user=None)
        is_apart = written.exists() or recorded.exists()
        if Booking.objects.filter(msisdn=number).count() == 1 and not is_apart:
            return number
    return None


def customers():
    """Return a customer for each reply outcome, one without a delivered text, and one whose delivery staff moved."""
    numbers = InboundMessage.objects.order_by("pk")
    found = [
        single(numbers.filter(outcome=o).values_list("msisdn", flat=True)) for o in Outcome.values
    ]
    lost = OutboundMessage.objects.filter(kind="notification", state="failed")
    found.append(single(lost.values_list("msisdn", flat=True)))
    found.append(
        single(SlotChange.objects.filter(cause="staff").values_list("booking__msisdn", flat=True))
    )
    return list(dict.fromkeys(number for number in found if number))


@pytest.fixture
def pasts(settings):
    """Return the customers' events, and delete the demo's rows."""
    settings.SMS_RATE_PER_SECOND = 1000.0
    with transaction.atomic():
        with time_machine.travel(START, tick=False):
            call_command("demo", stdout=io.StringIO())
        found = [Past(number) for number in customers()]
        transaction.set_rollback(True)
    return found


def test_demo_rows_match_the_products_rows(pasts):
    assert len(pasts) >= 8
    for past in pasts:
        with transaction.atomic():
            past.happen()
            written = rows_of(past.bookings[0].msisdn)
            transaction.set_rollback(True)
        for table, rows in past.rows.items():
            assert rows == written[table], table.__name__
