"""The call list of a day: who does not know of a delivery, why, and who was told by phone."""

import datetime as dt
import random
import re

import pytest
from django.urls import reverse
from django.utils import timezone

from bookings.admin.shared.row_versions import seen_word
from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.dispatch import informed, notices
from bookings.dispatch.informed import _Knowledge
from bookings.dispatch.notices import News
from bookings.models import Batch, Booking, Circuit, Kind, MessageState, StaffAct
from tests.factories import (
    BookingFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SlotChangeFactory,
    SlotFactory,
    UserFactory,
)
from tests.flow.clock import clock_at
from tests.processes import VIRTUAL_NUMBER

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TEXTS = [Kind.NOTIFICATION, Kind.TOLD, Kind.ACKNOWLEDGEMENT, Kind.RE_PROMPT]
TOMORROW = dt.date(2026, 11, 24)
UNAWARE = "admin:bookings_booking_unaware"


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 16:00")


def booked(reference: str, **fields) -> Booking:
    return BookingFactory.create(
        reference=reference, slot=SlotFactory.create(date=TOMORROW), **fields
    )


def texted(booking: Booking, state=MessageState.DELIVERED, **fields):
    return OutboundMessageFactory.create(booking=booking, state=state, **fields)


def reasons() -> dict[str, str]:
    return {one.booking.reference: one.reason for one in informed.list_not_informed(TOMORROW)}


def test_f6_call_list_of_tomorrow_names_uninformed_customers_with_reasons(dispatcher, clock):
    texted(booked("KNOWS"))
    booked("FIXED", msisdn="442079460123")
    out = booked("OUT")
    consent.change(out.msisdn, is_opted_out=True, words="STOP")
    booked("NEW")
    texted(booked("FAILED"), MessageState.FAILED, reason="Unknown number.")
    texted(booked("EXPIRED"), MessageState.EXPIRED)
    texted(booked("UNKNOWN"), MessageState.UNKNOWN)
    texted(booked("SILENT"), MessageState.SUBMITTED)
    moved = BookingFactory.create(reference="MOVED")
    texted(moved)
    clock("2026-11-23 16:50")
    dispatch.move(moved, SlotFactory.create(date=TOMORROW))
    texted(booked("ON-ITS-WAY"), MessageState.SUBMITTED)
    dispatch.cancel(booked("CANCELLED"))
    clock("2026-11-23 17:00")

    page = dispatcher.get(reverse(UNAWARE))

    told = reasons()
    assert told == {
        "FIXED": "This number cannot receive SMS: call instead.",
        "OUT": "The customer has opted out.",
        "NEW": "Not notified yet.",
        "FAILED": "Message failed. Unknown number.",
        "EXPIRED": "Message expired: the phone could not be reached.",
        "UNKNOWN": "It is unknown whether the message was sent.",
        "SILENT": "Message sent, no delivery receipt.",
        "MOVED": "Moved since; not told.",
    }
    html = page.content.decode()
    assert "Tue 24 Nov 2026: 8 customers to call" in html
    assert all(f"<bdi>{reference}</bdi>" in html for reference in told)
    assert "KNOWS" not in html
    assert informed.count_not_informed([TOMORROW])[TOMORROW] == len(page.context["unreached"]) == 8


def test_call_list_says_why_a_text_still_waits(clock, settings):
    waiting = booked("WAITS")
    message = texted(waiting, MessageState.QUEUED)
    assert reasons() == {"WAITS": "Message queued."}
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    clock("2026-11-23 21:00")
    assert reasons() == {"WAITS": "Message queued until quiet hours end."}
    message.kind = Kind.TOLD  # of a delivery within a day: goes at night, too
    message.save()
    assert reasons() == {"WAITS": "Message queued."}
    Circuit.objects.create(pk=1, opened_at=message.queued_at, reason="No balance.")
    assert reasons() == {"WAITS": "Message queued: sending is paused. No balance."}
    message.is_held = True
    message.save()
    assert reasons() == {"WAITS": "Message on hold until Ops releases it."}


def test_a_notification_waits_for_its_paused_batch_and_an_answer_for_none():
    notification = NotificationFactory.create(booking=booked("AB12"))
    user = UserFactory.create()
    batch = Batch.objects.create(nonce="n", user=user, sender=VIRTUAL_NUMBER, state="paused")
    batch.entries.create(
        booking=notification.booking, notification=notification, settled_at=timezone.now()
    )
    texted(notification.booking, MessageState.QUEUED, notification=notification)
    assert reasons() == {"AB12": "Message queued: its batch is paused."}
    about = {"notification": notification, "kind": Kind.ACKNOWLEDGEMENT}
    texted(notification.booking, MessageState.QUEUED, **about)
    assert reasons() == {"AB12": "Message queued."}


def test_reply_after_the_last_text_informs_only_until_a_later_move(clock):
    notification = NotificationFactory.create(booking=booked("AB12"))
    texted(notification.booking, MessageState.SUBMITTED)
    clock("2026-11-23 16:40")
    assert "AB12" in reasons()
    InboundMessageFactory.create(notification=notification)
    assert reasons() == {}
    clock("2026-11-23 16:45")
    other = SlotFactory.create(date=TOMORROW, window_start=dt.time(14), window_end=dt.time(17))
    dispatch.move(notification.booking, other)
    assert reasons() == {"AB12": "Moved since; not told."}


@pytest.mark.parametrize("state", ["queued", "failed", "expired", "rejected"])
def test_reply_to_an_unread_text_does_not_count_as_informed(state, clock, reply):
    notification = NotificationFactory.create(booking=booked("AB12"))
    texted(notification.booking)
    clock("2026-11-23 16:10")
    other = SlotFactory.create(date=TOMORROW, window_start=dt.time(14), window_end=dt.time(17))
    dispatch.move(notification.booking, other)
    told = texted(notification.booking, state, kind=Kind.TOLD)
    clock("2026-11-23 16:20")
    reply(notification.msisdn, "thanks, see you tomorrow morning")
    assert "AB12" in reasons()
    told.state = MessageState.SUBMITTED
    told.save()
    assert reasons() == {}


def test_reinstatement_after_a_cancellation_text_needs_a_new_text(clock):
    booking = booked("AB12")
    texted(booking)
    clock("2026-11-23 16:10")
    dispatch.cancel(booking)
    off = notices.send_notice(booking)
    off.state = MessageState.DELIVERED
    off.save()
    clock("2026-11-23 16:20")
    dispatch.reinstate(booking)
    assert list(reasons()) == ["AB12"]
    again = notices.send_notice(booking, News.PLANNED)
    assert "is planned for Tue 24 Nov" in again.text
    again.state = MessageState.DELIVERED
    again.save()
    assert reasons() == {}


def test_reinstatement_after_a_cancellation_call_needs_a_new_call(clock):
    booking, user = booked("AB12"), UserFactory.create()
    texted(booking)
    clock("2026-11-23 16:10")
    dispatch.cancel(booking, user=user)
    notices.record_phone_call(booking, user)
    clock("2026-11-23 16:20")
    dispatch.reinstate(booking)
    assert reasons() == {"AB12": "Was told it is cancelled; since reinstated."}
    notices.record_phone_call(booking, user)
    assert reasons() == {}


def test_reply_after_an_untold_move_does_not_count_as_informed(clock, reply):
    notification = NotificationFactory.create(booking=booked("AB12"))
    texted(notification.booking)
    clock("2026-11-23 16:10")
    other = SlotFactory.create(date=TOMORROW, window_start=dt.time(14), window_end=dt.time(17))
    dispatch.move(notification.booking, other)
    clock("2026-11-23 16:20")
    InboundMessageFactory.create(notification=notification, outcome="thanks")
    assert reasons() == {"AB12": "Moved since; not told."}


OFF = {"AB12": "Cancelled; not told."}


def test_informed_customer_is_listed_until_told_of_the_cancellation(dispatcher, clock):
    booking, user = booked("AB12"), UserFactory.create()
    texted(booking)
    clock("2026-11-23 16:10")
    dispatch.cancel(booking, user=user)
    assert reasons() == OFF
    clock("2026-11-23 16:20")
    page = post_told(dispatcher, booking)
    assert "recorded, told by phone" in page.content.decode()
    assert StaffAct.objects.filter(told_state="cancelled").count() == 1
    assert reasons() == {}
    clock("2026-11-23 16:30")
    dispatch.reinstate(booking)
    dispatch.cancel(booking, user=user)
    assert reasons() == {}  # that it is off was the last word


def test_cancellation_text_counts_only_when_it_arrives(clock):
    booking = booked("AB12")
    texted(booking)
    clock("2026-11-23 16:10")
    dispatch.cancel(booking)
    off = notices.send_notice(booking)
    assert reasons() == {"AB12": "Cancelled. Message queued."}
    off.state = MessageState.SUBMITTED
    off.save()
    assert reasons() == {}  # it may still arrive
    clock("2026-11-23 16:50")
    assert list(reasons()) == ["AB12"]
    InboundMessageFactory.create(booking=booking, msisdn=booking.msisdn, outcome="thanks")
    assert reasons() == {}


def test_unreachable_customer_is_listed_when_the_delivery_is_cancelled(clock):
    """As the page of *Cancel …* promises: what they were told otherwise nobody can say."""
    dispatch.cancel(booked("FIXED", msisdn="442079460123"))
    dispatch.cancel(booked("NEVER-ASKED"))
    why = "This number cannot receive SMS: call instead."
    assert reasons() == {"FIXED": f"Cancelled; not told. {why}"}


def on_thursday():
    return SlotFactory.create(date=TOMORROW + dt.timedelta(days=2), capacity=None)


def test_untold_move_is_listed_on_the_day_that_the_delivery_left(dispatcher, clock):
    booking = booked("AB12")
    texted(booking)
    dispatch.move(booked("NEVER-ASKED"), on_thursday())
    clock("2026-11-23 16:10")
    dispatch.move(booking, on_thursday(), user=UserFactory.create())
    assert reasons() == {"AB12": "Moved to Thu 26 Nov since; not told."}
    assert informed.count_not_informed([TOMORROW])[TOMORROW] == 1
    assert "Thu 26 Nov</div>" in dispatcher.get(reverse(UNAWARE)).text
    clock("2026-11-23 16:20")
    post_told(dispatcher, booking)
    assert reasons() == {}


def test_second_untold_move_is_listed_on_the_day_told_before(clock):
    booking, friday = booked("AB12"), SlotFactory.create(date=TOMORROW + dt.timedelta(days=3))
    texted(booking)
    clock("2026-11-23 16:10")
    dispatch.move(booking, on_thursday())
    texted(booking, kind=Kind.TOLD)
    clock("2026-11-23 16:20")
    dispatch.move(booking, friday)
    assert reasons() == {}
    (on_the_day_between,) = informed.list_not_informed(on_thursday().date)
    assert on_the_day_between.reason == "Moved to Fri 27 Nov since; not told."
    dispatch.cancel(booking)
    assert reasons() == {}
    (on_the_day_between,) = informed.list_not_informed(on_thursday().date)
    assert on_the_day_between.reason == OFF["AB12"]


def test_chosen_or_reverted_move_is_not_listed_on_the_day_left(clock, reply):
    notification = NotificationFactory.create(booking=booked("CHOSE"))
    texted(notification.booking, notification=notification)
    back, before = booked("BACK"), SlotFactory.create(date=TOMORROW)
    texted(back)
    clock("2026-11-23 16:10")
    assert reply(notification.msisdn, "2").outcome == "moved"
    dispatch.move(back, on_thursday())
    dispatch.move(back, before)
    assert reasons() == {"BACK": "Moved since; not told."}


def test_text_to_the_former_number_does_not_count_as_informed():
    booking = booked("AB12")
    texted(booking)
    dispatch.change_phone(booking, "447700900777")
    assert reasons() == {"AB12": "Not notified yet."}


def post_told(client, booking, **fields):
    address = reverse("admin:bookings_booking_told", args=[booking.pk])
    seen = {"seen": seen_word(booking), "day": "2026-11-24"}
    return client.post(address, seen | fields, follow=True)


def test_phone_call_takes_the_booking_off_the_list_and_is_recorded_once(dispatcher):
    booking = booked("AB12")
    page = post_told(dispatcher, booking)
    assert "recorded, told by phone" in page.content.decode()
    assert "no calls needed" in page.content.decode()
    assert "already reached" in post_told(dispatcher, booking).content.decode()
    act = StaffAct.objects.get()
    assert (act.booking, act.kind) == (booking, "told_by_phone")
    story = dispatcher.get(reverse("admin:bookings_booking_change", args=[booking.pk]))
    assert "Customer told by phone" in story.content.decode()


def test_change_during_the_call_is_not_recorded_as_told(dispatcher):
    booking = booked("AB12")
    seen = seen_word(booking)
    dispatch.move(booking, SlotFactory.create(date=TOMORROW, window_end=dt.time(13)))
    page = post_told(dispatcher, booking, seen=seen)
    assert (
        "changed in the meantime: it is now on Tue 24 Nov 2026 09:00-13:00" in page.content.decode()
    )
    assert not StaffAct.objects.exists()


def test_resubmitted_phone_call_after_moves_there_and_back_records_nothing(dispatcher):
    booking = booked("AB12")
    before, html = booking.slot, dispatcher.get(reverse(UNAWARE)).content.decode()
    (seen,) = re.findall(r'name="seen" value="(\w+)"', html)
    post_told(dispatcher, booking, seen=seen)
    dispatch.move(booking, SlotFactory.create(date=TOMORROW, window_end=dt.time(13)))
    dispatch.move(booking, before)
    assert "changed in the meantime" in post_told(dispatcher, booking, seen=seen).content.decode()
    assert StaffAct.objects.count() == 1


def test_invalid_date_shows_tomorrow_and_an_empty_day_says_so(dispatcher):
    html = dispatcher.get(reverse(UNAWARE), {"day": "32.13."}).content.decode()
    assert "Date not recognised" in html
    assert "Tue 24 Nov 2026: no deliveries" in html


def test_queries_do_not_grow_with_the_day(django_assert_max_num_queries):
    def fill(count: int) -> None:
        slot, later = SlotFactory.create(date=TOMORROW, capacity=None), on_thursday()
        user = UserFactory.create()
        for number, booking in enumerate(BookingFactory.create_batch(3 * count, slot=slot)):
            texted(booking, MessageState.QUEUED)
            notices.record_phone_call(booking, user)
            if number % 3 == 1:
                dispatch.cancel(booking, user=user)
            elif number % 3:
                dispatch.move(booking, later, user=user)

    fill(2)
    with django_assert_max_num_queries(9):
        informed.count_not_informed([TOMORROW])
    fill(8)
    with django_assert_max_num_queries(9):
        informed.count_not_informed([TOMORROW])


def test_the_sidebar_shows_this_list_as_open_and_no_other(dispatcher):
    page = dispatcher.get(reverse(UNAWARE)).text
    assert re.findall(r'<a href="([^"]+)" class="[^"]* active"', page) == [reverse(UNAWARE)]


def text_of(booking, chance):
    claimed = {"token": "t", "lease_until": timezone.now()}
    states = [*MessageState.values, *["delivered"] * 10]
    texted(booking, chance.choice(states), kind=chance.choice(TEXTS), **claimed)


def moved_by_reply(booking, chance):
    answer = InboundMessageFactory.create(booking=booking, msisdn=booking.msisdn)
    SlotChangeFactory.create(booking=booking, cause="reply", inbound=answer, user=None)


def phoned(booking, told_state):
    act = {"kind": "told_by_phone", "user": UserFactory.create(), "told_state": told_state}
    StaffAct.objects.create(booking=booking, msisdn=booking.msisdn, **act)


EVENTS = (
    *(text_of, text_of, text_of, moved_by_reply),
    lambda booking, chance: SlotChangeFactory.create(booking=booking),
    lambda booking, chance: InboundMessageFactory.create(booking=booking, msisdn=booking.msisdn),
    lambda booking, chance: InboundMessageFactory.create(
        booking=booking, msisdn=booking.msisdn, outcome="thanks"
    ),
    lambda booking, chance: texted(booking, msisdn="447700999999"),  # its number of before
    lambda booking, chance: texted(booking, kind=Kind.TOLD, told_state="cancelled"),
    lambda booking, chance: phoned(booking, "scheduled"),
    lambda booking, chance: phoned(booking, "cancelled"),
)


def made_up_story(chance: random.Random, clock) -> Booking:
    """A delivery and a few things that happened to it, at most one in a minute, in any order."""
    booking = booked(f"R-{chance.random()}")
    for minute in sorted(chance.sample(range(60), chance.randint(0, 4))):
        clock(f"2026-11-23 15:{minute:02}")
        chance.choice(EVENTS)(booking, chance)
    return booking


def test_database_filter_hides_no_customer_that_the_rule_lists(clock):
    """Most who were reached are not looked at one by one: that may never hide anybody who was not."""
    chance = random.Random(1)  # the same stories each time
    bookings = [made_up_story(chance, clock) for _ in range(150)]
    clock("2026-11-23 17:00")
    knowledge = _Knowledge({booking.pk: booking.msisdn for booking in bookings})
    expected = {
        booking.pk: reason
        for booking in bookings
        if (reason := knowledge.why_not_informed(booking.pk, booking.changed_at))
    }
    assert {one.booking.pk: one.reason for one in informed.list_not_informed(TOMORROW)} == expected
    assert 30 < len(expected) < 140


def moved_about(booking, chance):
    day = TOMORROW + dt.timedelta(days=chance.randint(0, 2))
    dispatch.move(booking, SlotFactory.create(date=day, capacity=None))


CHANGES = (
    *(moved_about, moved_about, text_of, moved_by_reply),
    lambda booking, chance: dispatch.cancel(booking),
    lambda booking, chance: dispatch.reinstate(booking),
    lambda booking, chance: notices.record_phone_call(booking, UserFactory.create()),
)


def test_phone_call_removes_a_customer_from_the_list_of_any_day(clock):
    """Also on the lists of days that the delivery has left."""
    chance, days = random.Random(2), [TOMORROW + dt.timedelta(days=ahead) for ahead in range(3)]
    bookings = BookingFactory.create_batch(
        60, slot=SlotFactory.create(date=TOMORROW, capacity=None)
    )
    for minute in range(60):
        clock(f"2026-11-23 15:{minute:02}")
        for booking in chance.sample(bookings, 5):
            chance.choice(CHANGES)(booking, chance)
    clock("2026-11-23 17:00")
    listed = [one for day in days for one in informed.list_not_informed(day)]
    assert informed.count_not_informed(days).total() == len(listed) > 25
    assert len({one.booking for one in listed}) < len(listed)  # some are on two lists
    assert all(informed.is_not_informed(one.booking) for one in listed)
    for one in listed:
        notices.record_phone_call(one.booking, UserFactory.create())
    assert informed.count_not_informed(days).total() == 0
