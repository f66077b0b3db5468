"""The demo's data: two weeks of a company, with an example of every kind."""

import datetime as dt
import io
from collections import Counter
from decimal import Decimal

import pytest
import time_machine
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from bookings.management.demo.fortnight import LATE_CUSTOMER
from bookings.models import (
    Batch,
    Booking,
    InboundMessage,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    Place,
    Slot,
    SlotChange,
    Spending,
    Ticket,
    TicketKind,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def noon(django_db_setup, django_db_blocker):
    """Start a demo on a Monday at noon. These tests only read it."""
    with django_db_blocker.unblock(), transaction.atomic():
        with time_machine.travel("2026-11-23T12:00:00Z", tick=False):
            call_command("demo", stdout=io.StringIO())
            yield
        transaction.set_rollback(True)


# Contents


def test_fortnight_has_600_deliveries_in_slots_of_60():
    assert Booking.objects.count() == 600
    doors = Slot.objects.filter(place=Place.DOOR)
    assert {slot.capacity for slot in doors} == {60}
    days = set(Booking.objects.values_list("slot__date", flat=True))
    assert len(days) >= 14


def test_every_kind_of_answer_and_of_ticket_is_there():
    outcomes = set(InboundMessage.objects.values_list("outcome", flat=True))
    assert outcomes >= {
        *(Outcome.MOVED, Outcome.KEPT, Outcome.THANKS, Outcome.NOT_UNDERSTOOD, Outcome.TOO_LATE),
        *(Outcome.OPTED_OUT, Outcome.CANCEL_ASKED, Outcome.UNKNOWN_SENDER),
    }
    kinds = set(Ticket.objects.waiting().values_list("kind", flat=True))
    assert kinds >= {
        *(TicketKind.UNCLEAR, TicketKind.WANTS_OUT, TicketKind.STRANGER, TicketKind.NOT_SENT),
        *(TicketKind.OPTED_OUT, TicketKind.SUSPICIOUS),
    }
    ages = sorted(timezone.now() - ticket.raised_at for ticket in Ticket.objects.waiting())
    assert ages[0] < dt.timedelta(minutes=15)
    assert ages[-1] > dt.timedelta(hours=24)
    assert Ticket.objects.waiting().exclude(owner=None).exists()
    assert Ticket.objects.exclude(settled_by=None).exists()


def test_replies_come_through_the_hours():
    received = InboundMessage.objects.values_list("received_at", flat=True)
    by_hour = Counter(timezone.localtime(moment).hour for moment in received)
    assert len(by_hour) >= 14
    assert max(by_hour, key=by_hour.__getitem__) == 17


def test_three_batches_of_which_one_is_halted():
    assert sorted(Batch.objects.values_list("state", flat=True)) == ["paused", "running", "running"]
    assert Batch.objects.finished().count() == 2


def test_demo_texts_have_costs():
    assert all(
        amount > Decimal(1) for amount in Spending.objects.values_list("amount", flat=True)[1:8]
    )


def test_one_notification_can_be_answered_too_late():
    notification = Notification.objects.get(booking__customer_name=LATE_CUSTOMER)
    assert notification.state == NotificationState.CLOSED
    assert notification.closes_at <= timezone.now() < notification.slot.ends_at
    assert not InboundMessage.objects.filter(msisdn=notification.msisdn).exists()
    text = OutboundMessage.objects.get(notification=notification)
    assert text.state == MessageState.DELIVERED
    for option in notification.options.all():
        assert f"{option.digit} (" in text.text


def test_staff_moved_deliveries_and_told_their_customers():
    moves = SlotChange.objects.filter(cause="staff")
    assert moves.count() >= 4
    told = OutboundMessage.objects.filter(kind="told", booking__in=moves.values("booking"))
    assert told.count() == moves.count()
