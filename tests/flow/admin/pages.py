"""Who opens which page of the admin, and a story that puts rows in every table."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bookings.admin.bookings.form import BookingForm
from bookings.models import (
    ActKind,
    Batch,
    BatchEntry,
    Booking,
    Circuit,
    ClosedDay,
    DeliveryReceipt,
    Kind,
    Manifest,
    MessageState,
    Notification,
    Slot,
    StaffAct,
    Ticket,
    TicketKind,
    WeeklySlot,
)
from tests.factories import (
    ConsentChangeFactory,
    DeliveryReceiptFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SentPartFactory,
    SlotChangeFactory,
    UserFactory,
)

OURS: list[Any] = [model for model in admin.site._registry if model._meta.app_label == "bookings"]
#: What its own tests change and delete: a pattern, and what staff hand in.
PATTERNS = {WeeklySlot, ClosedDay}
HISTORY = [model for model in OURS if model not in {Batch, Booking, Slot, Manifest, *PATTERNS}]
#: What Dispatch and Ops have no business with.
STAFF: list[Any] = [model for model in admin.site._registry if model._meta.app_label == "auth"]
EVERYONE = ["superuser", "Dispatch", "Ops", "Auditor"]
#: The gateway's own words and what staff did: not Dispatch's business.
NOT_FOR_DISPATCH = {Circuit, DeliveryReceipt, StaffAct}


def name_of(model) -> str:
    return str(model._meta.model_name)


def login(group: str) -> Client:
    user = UserFactory.create(is_superuser=group == "superuser")
    if group != "superuser":
        user.groups.add(Group.objects.get(name=group))
    client = Client(raise_request_exception=True)
    client.force_login(user)
    return client


def may_view(group: str, model) -> bool:
    return group != "Dispatch" or model not in NOT_FOR_DISPATCH


def url(model, page: str, *args) -> str:
    options = model._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_{page}", args=args)


def make_story(count: int = 1) -> None:
    """Rows in every table: notifications, replies, answers, moves, receipts, refusals."""
    for _ in range(count):
        notification = NotificationFactory.create(asked_by=UserFactory.create())
        _was_sent(notification)
        _was_answered(notification)
        _staff_acted(notification)
    WeeklySlot.objects.get_or_create(weekday=0, window_start="09:00", window_end="12:00")
    ClosedDay.objects.get_or_create(date="2026-12-25")
    Circuit.objects.get_or_create(
        pk=1, defaults={"opened_at": timezone.now(), "reason": "No balance"}
    )


def _was_sent(notification: Notification) -> None:
    booking = notification.booking
    message = OutboundMessageFactory.create(
        notification=notification, state=MessageState.DELIVERED, user=UserFactory.create()
    )
    attempt = SendAttemptFactory.create(message=message)
    SentPartFactory.create(attempt=attempt)
    DeliveryReceiptFactory.create(attempt=attempt)
    Ticket.objects.create(
        kind=TicketKind.NO_RECEIPT,
        reason="No receipt says that it arrived.",
        msisdn=booking.msisdn,
        booking=booking,
        outbound=message,
    )


def _was_answered(notification: Notification) -> None:
    booking = notification.booking
    inbound = InboundMessageFactory.create(
        notification=notification, option=notification.options.get(digit=2), text="2 please"
    )
    SlotChangeFactory.create(
        booking=booking, inbound=inbound, cause="reply", user=UserFactory.create()
    )
    OutboundMessageFactory.create(booking=booking, in_reply_to=inbound, kind=Kind.ACKNOWLEDGEMENT)
    ConsentChangeFactory.create(msisdn=booking.msisdn, inbound=inbound, user=UserFactory.create())


def _staff_acted(notification: Notification) -> None:
    booking = notification.booking
    batch = Batch.objects.create(
        name="tomorrow",
        sender=notification.virtual_number,
        nonce=f"nonce {notification.pk}",
        user=UserFactory.create(),
    )
    BatchEntry.objects.create(
        batch=batch, booking=booking, notification=notification, settled_at=timezone.now()
    )
    StaffAct.objects.create(
        kind=ActKind.REVEALED,
        user=UserFactory.create(),
        msisdn=booking.msisdn,
        booking=booking,
        details=f"booking {booking.pk}",
    )
    Manifest.objects.create(name="week.csv", user=UserFactory.create())


def form_of(booking: Booking, **changes) -> dict:
    """What the change page posts."""
    fields = {
        "customer_name": booking.customer_name,
        "msisdn": "",
        "slot": booking.slot_id,
        "language": booking.language,
        "notes": booking.notes,
        "seen": BookingForm(instance=booking).initial["seen"],
    }
    if not booking.is_scheduled:
        fields["cancelled"] = "on"
    return fields | changes


def new_booking(slot: Slot, **fields) -> dict:
    return {
        "reference": "NEW-1",
        "customer_name": "Mary",
        "msisdn": "07700 900 123",
        "slot": slot.pk,
        "language": "en",
        "notes": "",
    } | fields


def save(client: Client, booking: Booking, **changes):
    return client.post(url(Booking, "change", booking.pk), form_of(booking, **changes))


def choose(client: Client, bookings, **more):
    act = {"action": "notify_customers", "_selected_action": [booking.pk for booking in bookings]}
    return client.post(url(Booking, "changelist"), act | more)
