"""The text that tells a customer about a move or a cancellation by dispatch."""

import datetime as dt

import pytest
from django.db import transaction

from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.dispatch import notices
from bookings.dispatch.notices import CannotTell
from bookings.language import encoding
from bookings.models import ActKind, Kind, MessageState, OutboundMessage, StaffAct
from tests.factories import BookingFactory, NotificationFactory, SlotFactory, UserFactory
from tests.flow.clock import clock_at

pytestmark = pytest.mark.django_db

TUE, THU = dt.date(2026, 11, 24), dt.date(2026, 11, 26)


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


@pytest.fixture
def booking():
    return BookingFactory.create(reference="AB12", slot=SlotFactory.create(date=TUE))


@pytest.fixture
def later():
    return SlotFactory.create(date=THU)


def move_and_tell(booking, slot, user=None):
    with transaction.atomic():
        dispatch.move(booking, slot, user=user)
        return notices.send_notice(booking, user=user)


def test_a_moved_delivery_is_told_with_its_new_day_and_window(booking, later):
    user = UserFactory.create()
    message = move_and_tell(booking, later, user)
    assert message.text == (
        "Acme: we had to change our plan. Parcel AB12 is moved to"
        f" Thu 26 Nov {later.window}. Questions: +44 20 7946 0000"
    )
    assert (message.kind, message.user, message.msisdn) == (Kind.TOLD, user, booking.msisdn)
    assert encoding.count_parts(message.text) == 1


def test_a_cancelled_delivery_is_told_to_be_off(booking):
    dispatch.cancel(booking)
    text = notices.send_notice(booking).text
    assert "parcel AB12, planned for Tue 24 Nov" in text
    assert "is cancelled and will not come" in text
    assert encoding.count_parts(text) == 1


def test_last_text_states_the_current_slot(booking, later):
    """A second move cancels the queued text about the first."""
    first = move_and_tell(booking, later)
    second = move_and_tell(booking, SlotFactory.create(date=dt.date(2026, 11, 27)))
    first.refresh_from_db()
    assert first.state == MessageState.CANCELLED
    assert "Fri 27 Nov" in second.text
    assert OutboundMessage.objects.queued().get() == second


def test_a_change_that_is_rolled_back_is_not_told(booking, later):
    with transaction.atomic():
        move_and_tell(booking, later)
        transaction.set_rollback(True)
    assert not OutboundMessage.objects.exists()


@pytest.mark.parametrize(
    ("msisdn", "reason"),
    [("442079460123", "cannot receive SMS"), ("447700900000", "one of our own numbers")],
)
def test_unreachable_customer_gets_no_update(msisdn, reason):
    booking = BookingFactory.create(msisdn=msisdn)
    with pytest.raises(CannotTell, match=reason):
        notices.send_notice(booking)


def test_opted_out_customer_gets_no_update(booking):
    consent.change(booking.msisdn, is_opted_out=True, words="STOP")
    with pytest.raises(CannotTell, match="opted out"):
        notices.send_notice(booking)
    assert not OutboundMessage.objects.exists()


def test_the_customer_hears_from_the_number_that_asked(settings, booking):
    settings.VONAGE_NUMBERS = ["447700900000", "447700900001"]
    assert notices.send_notice(booking).sender == "447700900000"
    NotificationFactory.create(booking=booking, virtual_number="447700900001")
    assert notices.send_notice(booking).sender == "447700900001"


def test_phone_call_is_recorded(booking):
    user = UserFactory.create()
    notices.record_phone_call(booking, user)
    act = StaffAct.objects.get()
    assert (act.kind, act.booking, act.user) == (ActKind.TOLD_BY_PHONE, booking, user)


def test_phone_call_record_states_the_slot_in_words(booking):
    user = UserFactory.create()
    notices.record_phone_call(booking, user)
    dispatch.cancel(booking)
    notices.record_phone_call(booking, user)
    told = StaffAct.objects.order_by("pk").values_list("details", flat=True)
    assert list(told) == [str(booking.slot), "that it is cancelled"]
