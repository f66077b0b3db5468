"""The data of the demo: a working week, eight customers, and one notification that is already closed.

Phone numbers are US 555-01xx, which nobody has.
"""

import contextlib
import datetime as dt
import itertools
from collections.abc import Iterator

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.gateways import Verdict
from bookings.language import messages
from bookings.models import (
    Booking,
    DeliveryReceipt,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    SendAttempt,
    SentPart,
    Slot,
    SlotOption,
)
from bookings.models.fields import country_of
from bookings.notifications import asking
from bookings.replies import service
from bookings.scheduling import offers

DAYS = 5
CAPACITY = 8
WINDOWS = tuple((dt.time(start), dt.time(start + 4)) for start in (8, 12, 16))
LATE_WINDOWS = (*WINDOWS, (dt.time(20), dt.time(22)))
CUSTOMERS = (
    ("Ana Torres", "12025550101"),
    ("Ben Okafor", "12025550102"),
    ("Chloe Martin", "12025550103"),
    ("Dev Patel", "12025550104"),
    ("Emma Lind", "12025550105"),
    ("Farid Haddad", "12025550106"),
    ("Grace Kim", "12025550107"),
)
LATE_CUSTOMER = ("Hugo Weber", "12025550108")
NOTIFIED = 2  # so many of them have been asked
#: What some wrote that the machine must not guess: the numbers of customers, and of a stranger.
WRITTEN = (
    ("12025550108", "hm, which days are there?"),
    ("12025550108", "I'm away until friday, can u do sat?"),
    ("12025550106", "please stop texting me"),
    ("12025550199", "hi, where is my parcel?"),
)
# Whoever starts the demo has at least this long to try it.
LEAST_TIME = dt.timedelta(hours=6)
STILL_GOOD = dt.timedelta(hours=1)
ASKED_BEFORE_CLOSE = dt.timedelta(hours=3)


@transaction.atomic
def ensure() -> Booking:
    """The demo's first booking, which can still be changed: with all the others made if need be."""
    first = _latest(CUSTOMERS[0][1])
    if first is not None and first.slot.cutoff_at > timezone.now() + STILL_GOOD:
        return first
    slots = _coming_slots()
    references = _free_references()
    booked = [
        dispatch.book(reference=next(references), customer_name=name, msisdn=msisdn, slot=slot)
        for (name, msisdn), slot in zip(CUSTOMERS, itertools.cycle(slots[:4]), strict=False)
    ]
    for booking in booked[:NOTIFIED]:
        _ask(booking)
    _ask_too_late(next(references), slots)
    _write()
    return booked[0]


def late_booking() -> Booking | None:
    """The booking whose notification is closed, if it could be made."""
    return _latest(LATE_CUSTOMER[1])


def _latest(msisdn: str) -> Booking | None:
    demo = Booking.objects.scheduled().filter(msisdn=msisdn, reference__startswith="DEMO-")
    return demo.select_related("slot").order_by("-pk").first()


def _free_references() -> Iterator[str]:
    taken = set(Booking.objects.values_list("reference", flat=True))
    names = (f"DEMO-{number}" for number in itertools.count(101))
    return (name for name in names if name not in taken)


def _coming_slots() -> list[Slot]:
    """The slots of the next days, stored; the first can be changed for some hours yet."""
    found: list[Slot] = []
    today = timezone.localdate()
    for ahead in itertools.count(1):
        day = today + dt.timedelta(days=ahead)
        if day.weekday() in settings.DELIVERY_DAYS:
            found += _changeable(day)
        if len({slot.date for slot in found}) == DAYS:
            return found
    raise AssertionError  # the days do not end


def _changeable(day: dt.date) -> list[Slot]:
    slots = (Slot(date=day, window_start=s, window_end=e, capacity=CAPACITY) for s, e in WINDOWS)
    stored = [offers.saved(slot) for slot in slots]
    soonest = timezone.now() + LEAST_TIME
    return [slot for slot in stored if slot.cutoff_at > soonest and slot.has_room()]


def _ask(booking: Booking) -> None:
    # Somebody may have tried STOP on this phone.
    with contextlib.suppress(asking.CannotNotify):
        asking.notify(booking)


def _write() -> None:
    """Texts of customers as they came in a moment ago: what of them needs a person waits in its queue."""
    for msisdn, words in WRITTEN:
        inbound = InboundMessage.objects.create(
            msisdn=msisdn, virtual_number=settings.VONAGE_NUMBERS[0], text=words
        )
        service.answer(inbound)


def _ask_too_late(reference: str, coming: list[Slot]) -> None:
    """A delivery so near that its notification, asked in time, is closed now: "too late" can be tried."""
    name, msisdn = LATE_CUSTOMER
    slot = _closed_slot()
    now = timezone.now()
    if slot is None or not slot.has_room():
        return
    after = [other for other in coming if other.date > slot.date]
    later = min(after, key=lambda other: (other.window != slot.window, other.date))
    offers.release_rested(msisdn, now)
    booking = dispatch.book(reference=reference, customer_name=name, msisdn=msisdn, slot=slot)
    digit = offers.free_block(booking, now)
    if digit is None:
        return
    asked_at = slot.cutoff_at - ASKED_BEFORE_CLOSE
    notification = Notification.objects.create(
        booking=booking,
        msisdn=msisdn,
        virtual_number=settings.VONAGE_NUMBERS[0],
        slot=slot,
        state=NotificationState.CLOSED,
        closes_at=slot.cutoff_at,
        closed_at=slot.cutoff_at,
        handed_over_at=asked_at,
        created_at=asked_at,
    )
    for number, choice in enumerate((slot, later), start=digit):
        SlotOption.objects.create(
            notification=notification,
            msisdn=msisdn,
            digit=number,
            words=messages.option_words(choice, slot, booking.language),
            slot=choice,
        )
    _deliver(notification, asked_at)


def _closed_slot() -> Slot | None:
    """The latest slot of today and tomorrow that can no longer be changed and is not over yet."""
    now, today = timezone.now(), timezone.localdate()
    near = [
        Slot(date=day, window_start=start, window_end=end, capacity=CAPACITY)
        for day in (today, today + dt.timedelta(days=1))
        for start, end in LATE_WINDOWS
    ]
    closed = [slot for slot in near if slot.cutoff_at <= now < slot.ends_at]
    return offers.saved(closed[-1]) if closed else None


def _deliver(notification: Notification, at: dt.datetime) -> None:
    """The notification's SMS, as sent and delivered at that time."""
    attempt = _send(notification, at)
    message = attempt.message
    for number in range(1, message.parts + 1):
        part = f"DEMO{message.pk}P{number}"
        SentPart.objects.create(attempt=attempt, gateway_message_id=part)
        DeliveryReceipt.objects.create(
            attempt=attempt,
            gateway_message_id=part,
            client_ref=attempt.client_ref,
            msisdn=message.msisdn,
            status="delivered",
            err_code="0",
            received_at=at,
        )
    message.stand()


def _send(notification: Notification, at: dt.datetime) -> SendAttempt:
    text = _text(notification)
    claim = {"token": "demo", "call_started_at": at}
    message = OutboundMessage.objects.create(
        idempotency_key=f"demo:{notification.pk}",
        kind=Kind.NOTIFICATION,
        msisdn=notification.msisdn,
        sender=notification.virtual_number,
        text=text,
        parts=messages.count_parts(text),
        booking=notification.booking,
        notification=notification,
        gateway="simulator",
        state=MessageState.SENDING,
        lease_until=at,
        queued_at=at,
        due_at=at,
        **claim,
    )
    return SendAttempt.objects.create(
        message=message,
        number=1,
        client_ref=f"{message.ref}-1",
        settled_at=at,
        verdict=Verdict.ACCEPTED,
        country=country_of(message.msisdn),
        counted_parts=message.parts,
        unpriced_parts=message.parts,
        **claim,
    )


def _text(notification: Notification) -> str:
    booking = notification.booking
    return messages.render(
        "notification",
        booking.language,
        reference=booking.reference,
        where=messages.where(notification.slot, booking.language),
        options=messages.options_text(offers.of(notification), booking.language),
        until=messages.moment(notification.closes_at, booking.language),
    )
