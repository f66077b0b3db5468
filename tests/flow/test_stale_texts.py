"""Outdated texts do not leave: their dates, their booking's changes, and newer texts decide."""

import datetime as dt

import pytest

from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.gateways import SendResult, Verdict
from bookings.models import (
    ChangeCause,
    Circuit,
    Kind,
    MessageState,
    NotificationState,
    OutboundMessage,
    Place,
)
from bookings.notifications.asking import notify, renew_stale
from bookings.outbox.claiming import claim
from bookings.outbox.sending import settle, start_call
from tests.factories import BookingFactory, SlotFactory
from tests.flow.clock import clock_at, wall

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TUE, WED, THU, FRI = (dt.date(2026, 11, 24 + ahead) for ahead in range(4))
EVENING = {"window_start": dt.time(18), "window_end": dt.time(20)}  # its cut-off is at 06:00


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def parcel(date=TUE, **fields):
    return BookingFactory.create(slot=SlotFactory.create(date=date, **fields))


def text_of(notification):
    return OutboundMessage.objects.get(notification=notification, kind=Kind.NOTIFICATION)


def hold_back(network):
    """Let the gateway refuse all texts for now, so that they stay queued."""
    network.set_mode("401")


# valid_until


def test_a_text_is_true_until_the_end_of_the_day_it_calls_today(clock):
    booking = parcel(TUE, **EVENING)
    assert "(tomorrow Tue 24 Nov)" in text_of(notify(booking)).text
    assert text_of(booking.notifications.get()).valid_until == wall("2026-11-24 00:00")


def test_a_text_that_calls_no_day_today_is_true_until_its_notification_closes():
    notification = notify(parcel(FRI))
    assert "tomorrow" not in text_of(notification).text
    assert text_of(notification).valid_until == notification.closes_at == wall("2026-11-26 21:00")


def test_a_text_is_true_until_the_first_cutoff_that_it_offers():
    booking = parcel(FRI)
    notification = notify(booking, slots=[booking.slot, SlotFactory.create(date=WED)])
    assert text_of(notification).valid_until == wall("2026-11-24 21:00")


def test_a_text_is_true_until_its_notification_closes_at_the_latest():
    booking = parcel(TUE)
    notification = notify(booking, slots=[SlotFactory.create(date=FRI)])
    assert text_of(notification).valid_until == notification.closes_at == wall("2026-11-23 21:00")


# Midnight


def test_at_midnight_tomorrow_is_asked_afresh_with_new_dates_and_the_same_digits(
    clock, network, drain
):
    booking = parcel(TUE, **EVENING)
    first = notify(booking)
    hold_back(network)
    drain()
    network.reset()
    clock("2026-11-24 00:00")
    sent = [form["text"] for form in drain()]
    assert len(sent) == 1
    assert "1 (today Tue 24 Nov), 2 (tomorrow Wed 25 Nov) or 3 (post office)" in sent[0]
    first.refresh_from_db()
    assert first.state == NotificationState.WITHDRAWN
    assert text_of(first).state == MessageState.CANCELLED
    second = booking.notifications.get(state=NotificationState.OPEN)
    assert [option.digit for option in second.options.all()] == [1, 2, 3]


def test_a_minute_before_midnight_it_leaves_as_it_is(clock, drain):
    notify(parcel(TUE, **EVENING))
    clock("2026-11-23 23:59")
    assert ["(tomorrow Tue 24 Nov)" in form["text"] for form in drain()] == [True]


def test_text_sent_before_midnight_is_left_alone(clock, drain):
    booking = parcel(TUE, **EVENING)
    notify(booking)
    drain()
    clock("2026-11-24 00:00")
    assert drain() == []
    assert booking.notifications.get().state == NotificationState.OPEN


def test_asking_afresh_keeps_the_user_the_sender_and_the_chosen_options(
    settings, clock, django_user_model
):
    settings.VONAGE_NUMBERS = ["447700900000", "447700900001"]
    user = django_user_model.objects.create_user("dispatcher")
    booking = parcel(WED)
    chosen = [booking.slot, SlotFactory.create(date=TUE, **EVENING), SlotFactory.create(date=FRI)]
    notify(booking, user=user, slots=chosen, sender="447700900001")
    clock("2026-11-24 00:30")
    renew_stale()
    second = booking.notifications.get(state=NotificationState.OPEN)
    assert (second.asked_by, second.virtual_number) == (user, "447700900001")
    assert [option.words for option in second.options.all()] == [
        "tomorrow Wed 25 Nov",
        "today Tue 24 Nov 18:00-20:00",
        "Fri 27 Nov",
    ]


def test_a_chosen_option_past_its_cutoff_is_left_out_when_asked_afresh(clock):
    booking = parcel(FRI)
    notify(booking, slots=[booking.slot, SlotFactory.create(date=WED)])
    clock("2026-11-24 21:00")
    renew_stale()
    second = booking.notifications.get(state=NotificationState.OPEN)
    assert [option.words for option in second.options.all()] == ["Fri 27 Nov"]


def test_notification_that_cannot_be_asked_afresh_is_withdrawn_with_the_reason(clock):
    booking = parcel(TUE, **EVENING)
    notification = notify(booking)
    consent.change(booking.msisdn, is_opted_out=True, words="STOP")
    clock("2026-11-24 00:00")
    renew_stale()
    notification.refresh_from_db()
    assert notification.state == NotificationState.WITHDRAWN
    assert "opted out" in notification.withdrawn_because
    assert text_of(notification).state == MessageState.CANCELLED


def test_notification_past_its_close_is_cancelled_and_not_asked_afresh(clock, drain):
    booking = parcel(TUE)
    notification = notify(booking)
    clock("2026-11-23 21:00")
    assert drain() == []
    assert text_of(notification).state == MessageState.CANCELLED
    assert booking.notifications.count() == 1


def test_sweeping_twice_asks_afresh_once(clock):
    booking = parcel(TUE, **EVENING)
    notify(booking)
    clock("2026-11-24 00:00")
    renew_stale()
    renew_stale()
    assert booking.notifications.count() == 2


# Changes of a booking cancel the queued texts about it


def move(booking):
    dispatch.move(booking, SlotFactory.create(date=THU))


def move_by_import(booking):
    dispatch.move(booking, SlotFactory.create(date=THU), cause=ChangeCause.IMPORT)


def change_phone(booking):
    dispatch.change_phone(booking, "447911123456")


@pytest.mark.parametrize("act", [move, move_by_import, dispatch.cancel, change_phone])
def test_booking_change_cancels_its_queued_notification(drain, act):
    booking = parcel()
    notification = notify(booking)
    act(booking)
    assert text_of(notification).state == MessageState.CANCELLED
    assert drain() == []


@pytest.mark.parametrize("act", [move, move_by_import, dispatch.cancel, change_phone])
def test_booking_change_cancels_a_queued_acknowledgement(reply, drain, act):
    booking = parcel()
    notify(booking)
    drain()
    inbound = reply(booking.msisdn, "2")
    act(booking)
    assert inbound.answers.get().state == MessageState.CANCELLED
    assert drain() == []


def test_moving_reply_cancels_queued_staff_texts(reply, drain):
    booking = parcel()
    notify(booking)
    drain()
    told = OutboundMessage.objects.create(
        idempotency_key="told:1",
        kind=Kind.TOLD,
        msisdn=booking.msisdn,
        sender="447700900000",
        text="Acme: your parcel comes on Tue 24 Nov.",
        booking=booking,
        gateway="vonage",
        queued_at=wall("2026-11-23 10:00"),
        due_at=wall("2026-11-23 10:00"),
    )
    reply(booking.msisdn, "2")
    told.refresh_from_db()
    assert told.state == MessageState.CANCELLED


def test_a_change_that_is_rolled_back_cancels_nothing(drain):
    booking = parcel()
    notification = notify(booking)
    full = SlotFactory.create(date=THU, capacity=1)
    BookingFactory.create(slot=full)
    with pytest.raises(dispatch.CannotBook):
        dispatch.move(booking, full)
    assert text_of(notification).state == MessageState.QUEUED
    assert len(drain()) == 1


def test_texts_about_another_parcel_on_the_same_phone_still_go_out(drain):
    first = parcel()
    second = BookingFactory.create(msisdn=first.msisdn, slot=first.slot)
    notify(first)
    notify(second)
    dispatch.cancel(first)
    assert [second.reference in form["text"] for form in drain()] == [True]


def test_a_text_that_a_sender_has_claimed_is_called_back_until_the_call_starts(network):
    booking = parcel()
    notify(booking)
    [message] = claim(8).messages
    dispatch.cancel(booking)
    assert start_call(message) is None
    message.refresh_from_db()
    assert message.state == MessageState.CANCELLED


def test_a_text_that_is_being_handed_over_cannot_be_called_back(network):
    booking = parcel()
    notify(booking)
    [message] = claim(8).messages
    assert start_call(message) is not None
    dispatch.cancel(booking)
    message.refresh_from_db()
    assert message.state == MessageState.SENDING


@pytest.mark.parametrize("verdict", [Verdict.NOT_SENT, Verdict.THROTTLED, Verdict.ACCOUNT])
def test_a_text_the_gateway_gives_back_does_not_go_out_once_its_booking_changed(
    network, drain, clock, verdict
):
    booking = parcel()
    notify(booking)
    [message] = claim(8).messages
    attempt = start_call(message)
    assert attempt is not None
    dispatch.cancel(booking)
    settle(attempt, SendResult(verdict=verdict))
    Circuit.objects.all().delete()
    clock("2026-11-23 10:30")
    assert drain() == []
    message.refresh_from_db()
    assert message.state == MessageState.CANCELLED


# The last text tells the truth


def test_a_newer_acknowledgement_cancels_a_queued_older_one(reply, drain):
    booking = parcel()
    notify(booking)
    drain()
    older, newer = reply(booking.msisdn, "2"), reply(booking.msisdn, "3")
    assert older.answers.get().state == MessageState.CANCELLED
    [form] = drain()
    assert form["text"] == newer.answers.get().text
    booking.refresh_from_db()
    assert booking.slot.place == Place.POST_OFFICE
    assert "post office" in form["text"]


def test_the_new_notification_replaces_the_queued_old_one(drain):
    booking = parcel()
    notify(booking)
    second = notify(booking)
    [form] = drain()
    assert form["text"] == text_of(second).text


def test_a_notification_asked_after_a_move_says_where_it_is_now(drain):
    booking = parcel()
    notify(booking)
    move(booking)
    notify(booking)
    [form] = drain()
    assert "is planned for Thu 26 Nov 09:00-12:00" in form["text"]


@pytest.mark.parametrize("choice", ["1", "2", "3"])
def test_acknowledgements_print_dates_and_never_tomorrow(reply, drain, choice):
    booking = parcel()
    notify(booking)
    drain()
    text = reply(booking.msisdn, choice).answers.get().text
    assert "tomorrow" not in text
    assert "today" not in text
    booking.refresh_from_db()
    assert f"{booking.slot.date:%a} {booking.slot.date.day} Nov 09:00-12:00" in text


def test_a_stale_text_for_the_simulator_is_not_asked_afresh_through_vonage(clock, settings):
    notification = notify(parcel(TUE, **EVENING))
    settings.SMS_GATEWAY = "vonage"
    clock("2026-11-24 00:01")
    renew_stale()
    assert not OutboundMessage.objects.filter(gateway="vonage").exists()
    notification.refresh_from_db()
    assert notification.state == NotificationState.WITHDRAWN
