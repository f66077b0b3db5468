"""Factories of valid rows for tests, with future dates.

`NotificationFactory` makes a notification with its options, `OutboundMessageFactory` the SMS of it.
"""

import datetime as dt
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from factory.declarations import LazyAttribute, LazyFunction, SelfAttribute, Sequence, SubFactory
from factory.django import DjangoModelFactory
from factory.helpers import post_generation

from bookings.gateways import Verdict
from bookings.language import messages
from bookings.models import (
    Booking,
    ChangeCause,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    Outcome,
    Place,
    SendAttempt,
    SentPart,
    Slot,
    SlotChange,
    SlotOption,
    Ticket,
    TicketKind,
)
from bookings.models.fields import country_of
from bookings.outbox.settling import NEVER_LEFT
from tests.processes import VIRTUAL_NUMBER

STRANGER = "447700900999"


def in_days(days: int) -> dt.date:
    """Return the date so many days from today, in the company's zone."""
    return timezone.localdate() + dt.timedelta(days=days)


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    username = Sequence(lambda n: f"dispatcher{n}")
    is_staff = True


class SlotFactory(DjangoModelFactory[Slot]):
    """A door slot in three days, 9 to 12. If there is one at that time, it is that one as it is."""

    class Meta:
        model = Slot
        django_get_or_create = ("place", "date", "window_start", "window_end")

    date = LazyFunction(lambda: in_days(3))
    window_start = dt.time(9)
    window_end = dt.time(12)
    place = Place.DOOR
    capacity = 20


class BookingFactory(DjangoModelFactory[Booking]):
    class Meta:
        model = Booking

    reference = Sequence(lambda n: f"P-{1000 + n}")
    customer_name = Sequence(lambda n: f"Customer {n}")
    # Ofcom keeps 07700 900xxx for examples; every row has a number of its own.
    msisdn = Sequence(lambda n: f"4477009{n % 99_999 + 1:05d}")
    slot = SubFactory(SlotFactory)


class NotificationFactory(DjangoModelFactory[Notification]):
    """An open notification, handed over; with `options=0` none are printed."""

    class Meta:
        model = Notification
        skip_postgeneration_save = True

    booking = SubFactory(BookingFactory)
    msisdn = SelfAttribute("booking.msisdn")
    virtual_number = VIRTUAL_NUMBER
    slot = SelfAttribute("booking.slot")
    closes_at = LazyAttribute(lambda row: row.slot.cutoff_at)
    handed_over_at = LazyFunction(timezone.now)

    @post_generation
    def options(self: Any, create, extracted, **kwargs):
        """Create options 1 to `options` (3): keep, the next day, the post office."""
        booked = self.slot
        window = {"window_start": booked.window_start, "window_end": booked.window_end}
        next_day = booked.date + dt.timedelta(days=1)
        post = {"place": Place.POST_OFFICE, "date": booked.date, "capacity": None}
        offered = [
            (booked, messages.day(booked.date, "en")),
            (SlotFactory.create(date=next_day, **window), messages.day(next_day, "en")),
            (SlotFactory.create(**post, **window), "post office"),
        ]
        how_many = 3 if extracted is None else extracted
        for digit, (slot, words) in enumerate(offered[:how_many], start=1):
            SlotOptionFactory.create(notification=self, digit=digit, words=words, slot=slot)


class SlotOptionFactory(DjangoModelFactory[SlotOption]):
    class Meta:
        model = SlotOption

    notification = SubFactory(NotificationFactory, options=0)
    msisdn = SelfAttribute("notification.msisdn")
    digit = 1
    words = "Thu 26 Nov"
    slot = SelfAttribute("notification.slot")
    is_held = True


class InboundMessageFactory(DjangoModelFactory[InboundMessage]):
    """A reply. With `notification=` (and `booking=`) it is the reply to that notification."""

    class Meta:
        model = InboundMessage

    gateway_message_id = Sequence(lambda n: f"0B{n:014X}")
    notification = None
    booking = LazyAttribute(lambda row: row.notification and row.notification.booking)
    msisdn = LazyAttribute(lambda row: row.booking.msisdn if row.booking else STRANGER)
    virtual_number = VIRTUAL_NUMBER
    text = "2"
    received_at = LazyFunction(timezone.now)
    reading = "Choice"
    rule = "digit"
    matched = "2"
    outcome = Outcome.MOVED
    option = None
    chose = LazyAttribute(lambda row: row.option.meaning if row.option else "")


class OutboundMessageFactory(DjangoModelFactory[OutboundMessage]):
    """A queued notification text."""

    class Meta:
        model = OutboundMessage

    idempotency_key = Sequence(lambda n: f"test:{n}")
    kind = Kind.NOTIFICATION
    notification = None
    booking = LazyAttribute(
        lambda row: row.notification.booking if row.notification else BookingFactory.create()
    )
    msisdn = LazyAttribute(lambda row: row.booking.msisdn if row.booking else STRANGER)
    sender = VIRTUAL_NUMBER
    text = LazyAttribute(lambda row: f"Acme: your parcel {row.booking}. Reply 1, 2 or 3.")
    gateway = "simulator"
    state = MessageState.QUEUED
    queued_at = LazyFunction(timezone.now)
    due_at = SelfAttribute("queued_at")


class SendAttemptFactory(DjangoModelFactory[SendAttempt]):
    """The first try, taken by the gateway."""

    class Meta:
        model = SendAttempt

    message = SubFactory(OutboundMessageFactory, state=MessageState.SUBMITTED)
    number = 1
    client_ref = LazyAttribute(lambda row: f"{row.message.ref}-{row.number}")
    token = "token"
    call_started_at = LazyFunction(timezone.now)
    settled_at = LazyFunction(timezone.now)
    verdict = Verdict.ACCEPTED.value
    code = "0"
    state = MessageState.SUBMITTED
    cost = Decimal()
    country = LazyAttribute(lambda row: country_of(row.message.msisdn))
    # By our own count, as long as no part of it is made.
    counted_parts = LazyAttribute(
        lambda row: row.message.parts if Decimal(row.cost) and row.verdict not in NEVER_LEFT else 0
    )
    unpriced_parts = SelfAttribute("counted_parts")


class SentPartFactory(DjangoModelFactory[SentPart]):
    """A part that the gateway took; its attempt counts it."""

    class Meta:
        model = SentPart
        skip_postgeneration_save = True

    attempt = SubFactory(SendAttemptFactory)
    gateway_message_id = Sequence(lambda n: f"0A{n:014X}")
    price = "0.03330000"
    network = "23410"

    @post_generation
    def counted(self: Any, create, extracted, **kwargs):
        prices = list(self.attempt.parts.values_list("price", flat=True))
        self.attempt.counted_parts = len(prices)
        self.attempt.unpriced_parts = prices.count(None)
        self.attempt.save(update_fields=["counted_parts", "unpriced_parts"])


class DeliveryReceiptFactory(DjangoModelFactory[DeliveryReceipt]):
    class Meta:
        model = DeliveryReceipt

    attempt = SubFactory(SendAttemptFactory)
    gateway_message_id = Sequence(lambda n: f"0A{n:014X}")
    client_ref = LazyAttribute(lambda row: row.attempt.client_ref if row.attempt else "")
    msisdn = LazyAttribute(lambda row: row.attempt.message.msisdn if row.attempt else STRANGER)
    status = "delivered"
    err_code = "0"
    price = "0.03330000"
    network_code = "23410"
    scts = "2611231200"
    received_at = LazyFunction(timezone.now)


class SlotChangeFactory(DjangoModelFactory[SlotChange]):
    """A move by staff to the booking's slot from the day before. It does not move the booking."""

    class Meta:
        model = SlotChange

    booking = SubFactory(BookingFactory)
    from_slot = LazyAttribute(
        lambda row: SlotFactory.create(date=row.booking.slot.date - dt.timedelta(days=1))
    )
    to_slot = SelfAttribute("booking.slot")
    cause = ChangeCause.STAFF
    user = SubFactory(UserFactory)

    @classmethod
    def _create(cls, model_class: type[SlotChange], *args: Any, **kwargs: Any) -> SlotChange:
        change: SlotChange = super()._create(model_class, *args, **kwargs)
        booking = change.booking
        since = change.inbound.received_at if change.inbound else change.created_at
        booking.changed_at = max(since, booking.changed_at or since)
        booking.save(update_fields=["changed_at"])
        return change


class ConsentChangeFactory(DjangoModelFactory[ConsentChange]):
    class Meta:
        model = ConsentChange

    msisdn = Sequence(lambda n: f"4477009{n % 99_999 + 1:05d}")
    is_opted_out = True
    words = "STOP"


class TicketFactory(DjangoModelFactory[Ticket]):
    """An unclear reply that waits for a person."""

    class Meta:
        model = Ticket

    kind = TicketKind.UNCLEAR
    reason = "Unclear twice."
    inbound = SubFactory(
        InboundMessageFactory,
        text="can u do sat?",
        outcome=Outcome.NOT_UNDERSTOOD,
    )
    booking = LazyAttribute(lambda row: row.inbound.booking if row.inbound else None)
    msisdn = LazyAttribute(lambda row: row.inbound.msisdn if row.inbound else STRANGER)
