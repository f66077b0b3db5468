"""Two parcels on one phone, asked about at the same moment, by two people: no digit gets two meanings."""

import datetime as dt

import pytest
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.models import Notification, NotificationState, OutboundMessage, SlotOption
from bookings.notifications.asking import notify
from tests.factories import BookingFactory, SlotFactory
from tests.races.simultaneous import at_once

pytestmark = pytest.mark.django_db(transaction=True)

PHONE = "447700900123"
ROUNDS = 10


def slot():
    return SlotFactory.create(date=timezone.localdate() + dt.timedelta(days=4), capacity=None)


def blocks(notifications):
    return sorted(min(row.options.values_list("digit", flat=True)) for row in notifications)


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_two_parcels_asked_about_at_once_get_different_digits(attempt):
    first, second = BookingFactory.create_batch(2, msisdn=PHONE, slot=slot())
    asked = at_once(lambda: notify(first), lambda: notify(second))
    assert {type(each) for each in asked} == {Notification}, asked
    assert blocks(asked) == [1, 4]
    held = SlotOption.objects.filter(is_held=True).values_list("digit", flat=True)
    assert sorted(held) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_one_parcel_asked_about_twice_at_once_has_one_open_notification(attempt):
    booking = BookingFactory.create(msisdn=PHONE, slot=slot())
    asked = at_once(lambda: notify(booking), lambda: notify(booking))
    assert {type(each) for each in asked} == {Notification}, asked
    states = sorted(Notification.objects.values_list("state", flat=True))
    assert states == [NotificationState.OPEN, NotificationState.WITHDRAWN]
    assert OutboundMessage.objects.queued().count() == 1


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_a_parcel_that_gets_the_phone_of_another_at_that_moment_gets_other_digits(attempt):
    booked = slot()
    first = BookingFactory.create(msisdn=PHONE, slot=booked)
    second = BookingFactory.create(msisdn="447700900124", slot=booked)

    def change_and_ask():
        dispatch.change_phone(second, PHONE)
        return notify(second)

    asked = at_once(lambda: notify(first), change_and_ask)
    assert {type(each) for each in asked} == {Notification}, asked
    assert blocks(asked) == [1, 4]


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_a_notification_and_a_cancellation_at_once_leave_nothing_open(attempt):
    booking = BookingFactory.create(msisdn=PHONE, slot=slot())
    at_once(lambda: notify(booking), lambda: dispatch.cancel(booking))
    booking.refresh_from_db()
    assert not booking.is_scheduled
    assert not Notification.objects.open().exists()
    assert not OutboundMessage.objects.queued().exists()
