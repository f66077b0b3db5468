"""The demo's data: can be tried at whatever hour it is started, and is made once."""

import datetime as dt
import io

import pytest
import time_machine
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import RequestFactory
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.models import (
    Booking,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Slot,
)

pytestmark = pytest.mark.django_db

FIRST, LATE = "12025550101", "12025550108"
# Two Saturdays before Sundays without deliveries, and both changes of the clock, hour by hour.
DAYS = ["2026-11-21", "2026-11-23", "2026-10-24", "2026-03-28"]


def demo():
    out = io.StringIO()
    call_command("demo", stdout=out)
    return out.getvalue()


def first():
    return Booking.objects.filter(msisdn=FIRST).latest("pk")


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("hour", range(0, 24, 3))
@pytest.mark.parametrize("cutoff", [0, 12, 48])
def test_the_first_booking_can_be_changed_at_whatever_hour(settings, day, hour, cutoff):
    settings.CHANGE_CUTOFF_HOURS = cutoff
    with time_machine.travel(f"{day}T{hour:02}:10:00Z", tick=False):
        demo()
        booking = first()
        assert booking.slot.cutoff_at > timezone.now() + dt.timedelta(hours=2)
        notification = Notification.objects.get(booking=booking)
        assert notification.is_open_at(timezone.now())
        assert [option.digit for option in notification.options.all()] == [1, 2, 3]


@pytest.mark.parametrize("hour", range(24))
def test_there_is_one_notification_to_be_too_late_for(hour):
    with time_machine.travel(f"2026-11-23T{hour:02}:10:00Z", tick=False):
        demo()
        notification = Notification.objects.get(msisdn=LATE)
        assert notification.state == NotificationState.CLOSED
        assert notification.closes_at <= timezone.now() < notification.slot.ends_at
        text = OutboundMessage.objects.get(notification=notification)
        assert text.state == MessageState.DELIVERED
        for option in notification.options.all():
            assert f"{option.digit} (" in text.text


def test_a_second_start_changes_nothing():
    demo()
    counts = [model.objects.count() for model in (Booking, Slot, Notification, OutboundMessage)]
    demo()
    assert counts == [
        model.objects.count() for model in (Booking, Slot, Notification, OutboundMessage)
    ]
    assert counts[0] == 8


def test_months_later_there_are_fresh_bookings_beside_the_old():
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False):
        demo()
    with time_machine.travel("2027-02-23T12:00:00Z", tick=False):
        demo()
        assert first().slot.cutoff_at > timezone.now()
    assert Booking.objects.filter(msisdn=FIRST).count() == 2


def test_a_cancelled_first_booking_is_replaced():
    demo()
    dispatch.cancel(first())
    demo()
    assert first().is_scheduled


def test_the_demo_refuses_where_texts_are_real(settings):
    settings.SMS_GATEWAY = "vonage"
    with pytest.raises(CommandError, match="simulator"):
        demo()
    assert not Booking.objects.exists()


def test_a_login_is_made_and_printed_with_debug(settings):
    settings.DEBUG = True
    assert "dispatch, password: demo-dispatch" in demo()
    request = RequestFactory().post("/admin/login/")
    user = authenticate(request, username="dispatch", password="demo-dispatch")
    assert isinstance(user, User)
    assert user.is_staff
    assert not user.is_superuser
    assert user.has_perms(["bookings.notify_booking", "bookings.add_booking"])


def test_a_password_that_was_changed_stays(settings):
    settings.DEBUG = True
    demo()
    user = User.objects.get(username="dispatch")
    user.set_password("another one")
    user.save()
    assert "as you changed it" in demo()
    user.refresh_from_db()
    assert user.check_password("another one")


def test_without_debug_no_login_is_made():
    assert "createsuperuser" in demo()
    assert not User.objects.exists()
