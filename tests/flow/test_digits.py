"""Digits of a customer's options: blocks, rest, late answers, and phones with several parcels."""

import datetime as dt

import pytest

from bookings.dispatch import bookings as dispatch
from bookings.gateways import SendResult, Verdict
from bookings.models import (
    InboundMessage,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    Place,
)
from bookings.notifications.asking import close_past, notify, withdraw
from bookings.notifications.drafts import draft_notification
from bookings.outbox.claiming import claim
from bookings.outbox.sending import settle, start_call
from tests.factories import BookingFactory, SlotFactory
from tests.flow.clock import clock_at

pytestmark = [pytest.mark.django_db, pytest.mark.database]

PHONE = "447700900123"
OTHER = "447700900124"
TUE, WED, THU, FRI = (dt.date(2026, 11, 24 + ahead) for ahead in range(4))


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def parcel(reference="AB12", date=TUE, msisdn=PHONE):
    slot = SlotFactory.create(date=date)
    return BookingFactory.create(reference=reference, msisdn=msisdn, slot=slot)


def digits(notification):
    return [option.digit for option in notification.options.all()]


def place_and_day(booking):
    booking.refresh_from_db()
    return booking.slot.place, booking.slot.date


def answer_to(inbound):
    """Return the text of the answer to the customer."""
    return inbound.answers.get().text


def says_in_order(text, *pieces):
    found = [text.find(piece) for piece in pieces]
    return -1 not in found and found == sorted(found)


# Blocks


def test_a_second_parcel_on_one_phone_takes_the_next_block(drain):
    first, second, third = (notify(parcel(name)) for name in ("AB12", "CD34", "EF56"))
    assert [digits(row) for row in (first, second, third)] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    texts = [form["text"] for form in drain()]
    assert "AB12" in texts[0]
    assert "1 (tomorrow Tue 24 Nov), 2 (Wed 25 Nov) or 3 (post office)" in texts[0]
    assert "CD34" in texts[1]
    assert "4 (tomorrow Tue 24 Nov), 5 (Wed 25 Nov) or 6 (post office)" in texts[1]


def test_each_digit_moves_its_own_parcel(reply, drain):
    first, second = parcel("AB12"), parcel("CD34")
    notify(first)
    notify(second)
    drain()
    assert reply(PHONE, "5").booking == second
    assert place_and_day(second) == (Place.DOOR, WED)
    assert place_and_day(first) == (Place.DOOR, TUE)
    assert reply(PHONE, "3").booking == first
    assert place_and_day(first) == (Place.POST_OFFICE, TUE)
    assert place_and_day(second) == (Place.DOOR, WED)


def test_a_notification_with_fewer_options_still_has_its_block_for_itself(settings):
    settings.OFFER_POST_OFFICE = False
    assert digits(notify(parcel("AB12"))) == [1, 2]
    assert digits(notify(parcel("CD34"))) == [4, 5]


def test_two_customers_have_the_same_digits():
    assert digits(notify(parcel("AB12"))) == [1, 2, 3]
    assert digits(notify(parcel("CD34", msisdn=OTHER))) == [1, 2, 3]


def test_the_preview_shows_the_digits_that_are_sent():
    notify(parcel("AB12"))
    second = parcel("CD34")
    planned = [option.digit for option in draft_notification(second).options]
    assert planned == digits(notify(second)) == [4, 5, 6]


def test_a_fourth_parcel_goes_out_as_a_plain_notice_with_our_phone_number(drain, caplog):
    for name in ("AB12", "CD34", "EF56"):
        notify(parcel(name))
    notice = notify(parcel("GH78"))
    assert digits(notice) == []
    [*_, text] = [form["text"] for form in drain()]
    assert says_in_order(text, "Acme", "GH78", "Tue 24 Nov 09:00-12:00", "+44 20 7946 0000")
    assert "(" not in text
    # Dispatch finds it as the open notification without options, and operations in the log.
    assert list(Notification.objects.open().filter(options=None)) == [notice]
    assert f"Notification {notice.pk}: booking" in caplog.text
    assert "all digits are taken" in caplog.text


def test_a_digit_never_means_the_plain_notice(reply, drain):
    first = parcel("AB12")
    for booking in (first, parcel("CD34"), parcel("EF56")):
        notify(booking)
    last = parcel("GH78")
    notify(last)
    drain()
    assert reply(PHONE, "2").booking == first
    assert place_and_day(last) == (Place.DOOR, TUE)


# Rest


def test_a_daily_customer_is_asked_with_1_to_3_every_day(clock, reply, drain):
    for day in range(7):
        clock(f"2026-11-{23 + day} 10:00")
        booking = parcel(f"DAY-{day}", dt.date(2026, 11, 24 + day))
        assert digits(notify(booking)) == [1, 2, 3]
        drain()
        assert reply(PHONE, "3").booking == booking
        assert place_and_day(booking) == (Place.POST_OFFICE, dt.date(2026, 11, 24 + day))


def test_a_daily_customer_asked_before_the_digits_have_rested_gets_blocks_in_turn(clock, drain):
    asked = []
    for day in range(7):
        clock(f"2026-11-{23 + day} 08:30")  # the last notification closed at 21:00
        asked.append(digits(notify(parcel(f"DAY-{day}", dt.date(2026, 11, 24 + day))))[0])
        drain()
    assert asked == [1, 4, 1, 4, 1, 4, 1]


@pytest.mark.parametrize(
    ("moment", "first"),
    [
        pytest.param("2026-11-24 08:59", 4, id="a minute before"),
        pytest.param("2026-11-24 09:00", 1, id="at that instant"),
    ],
)
@pytest.mark.parametrize("is_swept", [True, False], ids=["swept", "not swept"])
def test_digits_rest_for_so_many_hours_after_the_close(clock, drain, moment, first, is_swept):
    notify(parcel("AB12"))
    drain()
    clock(moment)
    if is_swept:
        close_past()
    assert digits(notify(parcel("CD34", THU)))[0] == first


def test_digit_rest_hours_are_a_setting(settings, clock, drain):
    settings.REPLY_DIGIT_REST_HOURS = 48
    notify(parcel("AB12"))
    drain()
    clock("2026-11-25 20:59")
    assert digits(notify(parcel("CD34", FRI)))[0] == 4
    clock("2026-11-25 21:00")
    assert digits(notify(parcel("EF56", FRI)))[0] == 1


def test_digits_rest_from_the_moment_a_notification_was_withdrawn(clock, drain):
    first = parcel("AB12", FRI)
    notify(first)
    drain()
    clock("2026-11-23 12:00")
    dispatch.cancel(first)
    clock("2026-11-23 23:59")
    assert digits(notify(parcel("CD34", FRI))) == [4, 5, 6]
    clock("2026-11-24 00:00")
    assert digits(notify(parcel("EF56", FRI))) == [1, 2, 3]


def test_digits_never_handed_over_are_free_at_once(drain):
    first = parcel("AB12")
    notify(first)
    dispatch.cancel(first)
    assert digits(notify(parcel("CD34"))) == [1, 2, 3]
    assert ["CD34" in form["text"] for form in drain()] == [True]


def test_digits_of_a_notification_that_closed_before_its_text_left_are_free_at_once(clock):
    notify(parcel("AB12"))
    clock("2026-11-23 21:30")
    second = parcel("CD34", THU)
    assert [option.digit for option in draft_notification(second).options] == [1, 2, 3]
    assert digits(notify(second)) == [1, 2, 3]


def test_digits_refused_after_their_notification_was_withdrawn_are_free_at_once(network):
    first = parcel("AB12")
    notify(first)
    [message] = claim(8).messages
    attempt = start_call(message)
    assert attempt is not None
    dispatch.cancel(first)
    assert digits(notify(parcel("CD34"))) == [4, 5, 6]  # the customer may be reading 1 to 3
    settle(attempt, SendResult(verdict=Verdict.REFUSED))
    assert digits(notify(parcel("EF56"))) == [1, 2, 3]


def test_digits_that_the_gateway_refused_were_never_handed_over(network, drain):
    first = parcel("AB12")
    network.set_mode("status:6")
    notify(first)
    drain()
    dispatch.cancel(first)
    assert digits(notify(parcel("CD34"))) == [1, 2, 3]


def test_digits_of_an_unknown_outcome_rest(network, drain):
    first = parcel("AB12")
    network.set_mode("accept_then_close")
    notify(first)
    drain()
    dispatch.cancel(first)
    assert digits(notify(parcel("CD34"))) == [4, 5, 6]


def test_asking_again_before_it_left_prints_the_same_digits():
    booking = parcel("AB12")
    assert digits(notify(booking)) == digits(notify(booking)) == [1, 2, 3]
    planned = [option.digit for option in draft_notification(booking).options]
    assert planned == [1, 2, 3]


def test_asking_again_after_it_left_takes_the_next_block(drain):
    booking = parcel("AB12")
    notify(booking)
    drain()
    assert [option.digit for option in draft_notification(booking).options] == [4, 5, 6]
    assert digits(notify(booking)) == [4, 5, 6]


# Meaning of a digit


def test_a_digit_means_the_latest_handed_over_notification_that_printed_it(clock, reply, drain):
    first = parcel("AB12")
    notify(first)
    drain()
    clock("2026-11-24 09:00")
    second = parcel("CD34", THU)
    assert digits(notify(second)) == [1, 2, 3]
    # Its text has not left: the customer can only mean the older one.
    late = reply(PHONE, "2")
    assert (late.booking, late.outcome) == (first, Outcome.TOO_LATE)
    drain()
    assert reply(PHONE, "2").booking == second
    assert place_and_day(second) == (Place.DOOR, FRI)
    assert place_and_day(first) == (Place.DOOR, TUE)


def test_a_digit_that_was_only_queued_means_nothing(reply):
    booking = parcel("AB12")
    notify(booking)
    assert reply(PHONE, "2").outcome == Outcome.NO_QUESTION
    assert place_and_day(booking) == (Place.DOOR, TUE)


def test_late_reply_moves_nothing_and_gets_the_current_slot(clock, reply, drain):
    booking = parcel("AB12")
    notify(booking)
    drain()
    clock("2026-11-23 21:00")
    late = reply(PHONE, "2")
    assert late.outcome == Outcome.TOO_LATE
    assert place_and_day(booking) == (Place.DOOR, TUE)
    assert says_in_order(
        answer_to(late), "too late", "AB12", "Tue 24 Nov 09:00-12:00", "+44 20 7946 0000"
    )
    assert "2 (" not in answer_to(late)


def test_late_reply_gets_the_slot_and_the_open_notifications_options(clock, reply, drain):
    first, second = parcel("AB12"), parcel("CD34", THU)
    notify(first)
    notify(second)
    drain()
    clock("2026-11-23 21:00")
    late = reply(PHONE, "2")
    assert late.booking == first
    assert place_and_day(first) == (Place.DOOR, TUE)
    assert place_and_day(second) == (Place.DOOR, THU)
    truth = ("AB12", "Tue 24 Nov 09:00-12:00")
    open_notification = ("CD34", "4 (Thu 26 Nov), 5 (Fri 27 Nov) or 6 (post office)")
    assert says_in_order(answer_to(late), *truth, *open_notification)


def test_reply_to_a_withdrawn_notification_gets_the_slot_and_the_new_options(reply, drain):
    booking = parcel("AB12")
    notify(booking)
    drain()
    notify(booking)
    drain()
    old = reply(PHONE, "2")
    assert old.outcome == Outcome.CLOSED
    assert place_and_day(booking) == (Place.DOOR, TUE)
    open_notification = "4 (Tue 24 Nov), 5 (Wed 25 Nov) or 6 (post office)"
    assert says_in_order(answer_to(old), "AB12", "Tue 24 Nov 09:00-12:00", open_notification)
    assert reply(PHONE, "5").outcome == Outcome.MOVED
    assert place_and_day(booking) == (Place.DOOR, WED)


def test_reply_about_a_cancelled_parcel_is_told_of_the_cancellation(reply, drain):
    booking = parcel("AB12")
    notify(booking)
    drain()
    dispatch.cancel(booking)
    late = reply(PHONE, "2")
    assert late.outcome == Outcome.CLOSED
    assert says_in_order(answer_to(late), "AB12", "is cancelled")


def test_yesterdays_digit_does_not_move_todays_parcel(clock, reply, drain):
    first = parcel("AB12")
    notify(first)
    drain()
    clock("2026-11-24 08:00")  # 1 to 3 still rest
    second = parcel("CD34", THU)
    notify(second)
    drain()
    late = reply(PHONE, "2")
    assert late.booking == first
    assert place_and_day(second) == (Place.DOOR, THU)
    assert says_in_order(answer_to(late), "AB12", "Tue 24 Nov", "CD34", "4 (Thu 26 Nov)")


def test_we_answer_from_the_number_written_to(settings, reply, drain):
    settings.VONAGE_NUMBERS = ["447700900000", "447700900001"]
    booking = parcel("AB12")
    notify(booking)
    [asked] = drain()
    assert asked["from"] == "447700900000"
    reply(PHONE, "2", to="447700900001")
    [answer] = drain()
    assert answer["from"] == "447700900001"


def test_no_digit_has_two_meanings_after_any_staff_action(clock, drain):
    bookings = [parcel(name, FRI) for name in ("AB12", "CD34", "EF56", "GH78")]
    for hour in range(10, 20):
        clock(f"2026-11-23 {hour}:00")
        booking = bookings[hour % 4]
        notification = notify(booking)
        if hour % 3:
            drain()
        if hour % 5 == 0:
            withdraw(booking, "for a test")
            notification.refresh_from_db()
            assert notification.state == NotificationState.WITHDRAWN
        open_digits = [
            option.digit
            for row in Notification.objects.open().filter(msisdn=PHONE)
            for option in row.options.all()
        ]
        assert len(open_digits) == len(set(open_digits))
    assert OutboundMessage.objects.count() == 10
    assert not InboundMessage.objects.exists()
