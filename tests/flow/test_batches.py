"""A batch is asked by the senders, stops when it is told to, and never says what is not true any more."""

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bookings import batches, dispatch
from bookings.batches import ask_waiting
from bookings.batches import progress as progress_of
from bookings.batches.previewing import preview
from bookings.batches.timing import Ahead, Planned, Walk
from bookings.invariants import find_contradictions
from bookings.models import (
    ActKind,
    Batch,
    BatchEntry,
    BatchState,
    Booking,
    Consent,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    SlotOption,
    Spending,
    StaffAct,
)
from bookings.notifications import ask_afresh
from bookings.options import offered_slots
from bookings.outbox.claiming import claim
from bookings.outbox.recovery import send_again
from bookings.outbox.sending import gateway, hand_over
from bookings.plans import plan
from tests.factories import BookingFactory, SlotFactory, UserFactory
from tests.flow.clock import clock_at, wall
from tests.flow.conftest import begin_call
from tests.processes import VIRTUAL_NUMBER

pytestmark = pytest.mark.django_db

#: For one customer of a batch, with its savepoints.
MOST_QUERIES = 23

TUE, THU = dt.date(2026, 11, 24), dt.date(2026, 11, 26)


@pytest.fixture(autouse=True)
def clock(time_machine):
    return clock_at(time_machine, "2026-11-23 10:00")


def parcels(count, date=THU, **fields):
    slot = SlotFactory.create(date=date, capacity=None)
    return BookingFactory.create_batch(count, slot=slot, **fields)


def start(bookings, **fields) -> Batch:
    return batches.start(
        Booking.objects.filter(pk__in=[booking.pk for booking in bookings]),
        nonce=f"nonce-{Batch.objects.count()}",
        user=UserFactory.create(),
        sender=VIRTUAL_NUMBER,
        **fields,
    )


def test_a_draining_sender_asks_and_sends_all_of_a_batch(drain):
    batch = start(parcels(25))
    assert len(drain()) == 25
    found = progress_of.of(batch)
    assert (found.total, found.waiting, found.asked, found.handed_over) == (25, 0, 25, 25)
    assert list(find_contradictions()) == []


def test_a_batch_goes_on_where_a_crash_left_it(network, drain):
    batch = start(parcels(5))
    ask_waiting(2)
    assert progress_of.of(batch).waiting == 3
    assert len(drain()) == 5
    keys = OutboundMessage.objects.values_list("idempotency_key", flat=True)
    entries = batch.entries.values_list("booking", flat=True)
    assert set(keys) == {f"batch:{batch.pk}:{booking}" for booking in entries}


def test_a_booking_on_which_our_software_fails_holds_up_no_other(monkeypatch, drain):
    first, *_ = chosen = parcels(3)
    batch = start(chosen)
    OutboundMessage.objects.create(  # a key that was used before: nobody expects that
        idempotency_key=f"batch:{batch.pk}:{first.pk}",
        kind="staff",
        msisdn=first.msisdn,
        sender=VIRTUAL_NUMBER,
        text="x",
        gateway="simulator",
    )
    assert len(drain()) == 2
    assert "Ask this customer by hand" in batch.entries.get(booking=first).left_out


def test_a_booking_that_was_cancelled_since_is_left_out_and_says_why(drain):
    gone, kept = parcels(2)
    batch = start([gone, kept])
    dispatch.cancel(gone)
    assert len(drain()) == 1
    assert batch.entries.get(booking=gone).left_out == "The booking is cancelled."
    assert progress_of.of(batch).reasons == [("The booking is cancelled.", 1)]


def test_a_customer_of_a_batch_is_asked_in_the_words_of_a_single_question():
    """Though what is offered is looked up once for all whose deliveries are in one slot."""
    thursday, tuesday = parcels(3), parcels(2, date=TUE)
    alone = [plan(booking) for booking in (*thursday, *tuesday)]
    start([*thursday, *tuesday])
    ask_waiting()
    texts = dict(OutboundMessage.objects.values_list("booking", "text"))
    assert texts == {planned.booking.pk: planned.text for planned in alone}
    offered = SlotOption.objects.values_list("notification__booking", "slot__date", "slot__place")
    assert set(offered) == {
        (planned.booking.pk, option.slot.date, option.slot.place)
        for planned in alone
        for option in planned.options
    }


def test_asking_takes_few_queries_for_each_customer():
    few, many = parcels(2), parcels(12)
    start(few)
    with CaptureQueriesContext(connection) as of_few:
        assert ask_waiting() == 2
    start(many)
    with CaptureQueriesContext(connection) as of_many:
        assert ask_waiting() == 12
    for_each = (len(of_many) - len(of_few)) / 10
    assert for_each <= MOST_QUERIES, for_each


def in_slots_of(days) -> list[Booking]:
    """One on each of these days, each at an hour of its own."""
    return [
        BookingFactory.create(
            slot=SlotFactory.create(
                date=THU + dt.timedelta(days=day),
                window_start=dt.time(8 + day % 10),
                window_end=dt.time(18),
            )
        )
        for day in days
    ]


def test_the_preview_takes_as_many_queries_for_many_slots_as_for_few():
    few, many, _later = (in_slots_of(range(*days)) for days in ((0, 2), (2, 22), (30, 31)))
    with CaptureQueriesContext(connection) as of_few:
        assert previewed(few).asked == 2
    with CaptureQueriesContext(connection) as of_many:
        assert previewed(many).asked == 20
    assert len(of_many) == len(of_few)


def test_what_many_are_offered_is_looked_up_once():
    chosen = in_slots_of(range(20))
    for booking in chosen:
        post_office = {"place": "post_office", "capacity": None}
        window = {name: getattr(booking.slot, name) for name in ("window_start", "window_end")}
        SlotFactory.create(date=booking.slot.date, **window, **post_office)
    slots = [booking.slot for booking in chosen]
    with CaptureQueriesContext(connection) as of_one:
        offered_slots(slots[:1], timezone.now())
    with CaptureQueriesContext(connection) as of_all:
        found = offered_slots(slots[:-1], timezone.now())
    assert len(of_all) == len(of_one) == 2
    alone = {slot.pk: offered_slots([slot], timezone.now())[slot.pk] for slot in slots[:-1]}
    assert found == alone
    assert {len(offered) for offered in found.values()} == {3}


# Paused and cancelled


def test_while_paused_nobody_is_asked_and_nothing_of_it_is_handed_over(drain):
    batch, other = start(parcels(4)), start(parcels(1, date=TUE))
    ask_waiting(2)
    batches.pause(batch, UserFactory.create())
    assert len(drain()) == 1
    assert other.entries.get().notification is not None
    assert progress_of.of(batch).queued == 2
    batches.resume(batch, UserFactory.create())
    assert len(drain()) == 4


def test_what_is_cancelled_is_withdrawn_and_what_was_handed_over_stays(drain, reply):
    gone, *_ = chosen = parcels(4)
    batch = start(chosen)
    ask_waiting(1)
    drain_one = drain()  # all are asked and sent
    assert len(drain_one) == 4
    second = start(parcels(4, date=TUE))
    ask_waiting(2)
    assert batches.cancel(second, UserFactory.create())
    assert not batches.cancel(second, UserFactory.create())
    assert not batches.cancel(batch, UserFactory.create())  # nothing of it is left to cancel
    assert drain() == []
    assert Notification.objects.open().count() == 4
    assert reply(gone.msisdn, "2").outcome == "moved"
    withdrawn = Notification.objects.filter(state=NotificationState.WITHDRAWN)
    assert withdrawn.count() == 2
    assert not SlotOption.objects.filter(notification__in=withdrawn, is_held=True).exists()
    assert progress_of.of(second).left_out == 2
    assert progress_of.of(second).cancelled == 2
    assert list(find_contradictions()) == []


def test_a_text_that_was_asked_at_the_moment_of_the_cancellation_is_withdrawn_by_the_sweep(drain):
    batch = start(parcels(1))
    ask_waiting()
    Batch.objects.update(state=BatchState.CANCELLED, ended_at=dt.datetime.now(dt.UTC))
    assert drain() == []
    assert OutboundMessage.objects.get().state == MessageState.CANCELLED
    assert progress_of.of(batch).cancelled == 1


# Whoever answers


@pytest.fixture
def half_asked(drain) -> Batch:
    """A batch of which one customer has the text, and another waits for their turn."""
    batch = start(parcels(2))
    ask_waiting(1)
    _send(1)
    return batch


def answer_of(reply, batch):
    """What is queued for the one who was asked, when they choose another day."""
    asked = batch.entries.exclude(notification=None).get().booking
    inbound = reply(asked.msisdn, "2")
    assert inbound.outcome == "moved"
    return inbound.answers.get()


@pytest.mark.parametrize("turn", [batches.pause, batches.cancel])
def test_a_reply_to_a_stopped_batch_is_answered(turn, half_asked, reply, drain):
    assert turn(half_asked, UserFactory.create())
    answer = answer_of(reply, half_asked)
    assert [form["text"] for form in drain()] == [answer.text]


@pytest.mark.parametrize("text", ["hello?", "9"], ids=["not understood", "not printed"])
def test_what_a_paused_batch_says_again_to_a_reply_goes_out(text, half_asked, reply, drain):
    assert batches.pause(half_asked, UserFactory.create())
    inbound = reply(half_asked.entries.exclude(notification=None).get().booking.msisdn, text)
    assert [form["text"] for form in drain()] == [inbound.answers.get().text]


def test_an_answer_that_waits_is_not_cancelled_with_its_batch(half_asked, reply, drain):
    answer = answer_of(reply, half_asked)
    assert batches.cancel(half_asked, UserFactory.create())
    batches.withdraw_cancelled()
    assert [form["text"] for form in drain()] == [answer.text]
    assert list(find_contradictions()) == []


def test_an_answer_that_waits_does_not_make_a_finished_batch_go_on(clock, drain, reply):
    batch = start(parcels(1))
    drain()
    finished_at = progress_of.of(batch).last_at
    clock("2026-11-23 10:30")
    answer = answer_of(reply, batch)
    assert state_of(batch) == FINISHED
    assert not batches.cancel(batch, UserFactory.create())
    assert [form["text"] for form in drain()] == [answer.text]
    assert progress_of.of(batch).last_at == finished_at


def test_an_answer_that_waits_long_after_its_batch_was_cancelled_is_no_contradiction(
    clock, half_asked, reply
):
    assert batches.cancel(half_asked, UserFactory.create())
    clock("2026-11-23 10:30")
    answer_of(reply, half_asked)
    assert list(find_contradictions()) == []


# Finished


def state_of(batch) -> tuple[bool, bool]:
    """Whether it goes on, and whether it is finished."""
    this = Batch.objects.filter(pk=batch.pk)
    return this.going_on().exists(), this.finished().exists()


GOES_ON, FINISHED, NEITHER = (True, False), (False, True), (False, False)


def test_a_batch_is_finished_once_its_last_text_has_left(clock, drain):
    batch, user = start(parcels(3)), UserFactory.create()
    assert state_of(batch) == GOES_ON
    ask_waiting()
    assert state_of(batch) == GOES_ON
    clock("2026-11-23 10:05")
    assert len(drain()) == 3
    clock("2026-11-23 11:00")
    assert state_of(batch) == FINISHED
    found = progress_of.of(batch)
    assert (found.is_finished, found.last_at) == (True, wall("2026-11-23 10:05"))
    assert [turn(batch, user) for turn in (batches.pause, batches.resume, batches.cancel)] == [
        False
    ] * 3
    batch.refresh_from_db()
    assert batch.state == BatchState.RUNNING
    assert not StaffAct.objects.exclude(kind=ActKind.ASKED_MANY).exists()


def test_a_batch_that_left_everybody_out_is_finished(clock):
    batch = start(parcels(1, msisdn="442079460000"))
    clock("2026-11-23 10:05")
    ask_waiting()
    assert state_of(batch) == FINISHED
    assert progress_of.of(batch).last_at == wall("2026-11-23 10:05")


def test_a_text_that_is_queued_once_more_makes_its_batch_go_on(drain):
    batch = start(parcels(1))
    drain()
    assert state_of(batch) == FINISHED
    OutboundMessage.objects.update(state=MessageState.QUEUED)
    assert state_of(batch) == GOES_ON
    assert batches.pause(batch, UserFactory.create())
    assert state_of(batch) == GOES_ON  # paused, and something is left to resume


@pytest.fixture
def nobody_knows(clock) -> Batch:
    """A batch of one text: its sender stopped during the call."""
    batch = start(parcels(1))
    ask_waiting()
    begin_call()
    OutboundMessage.objects.update(state=MessageState.UNKNOWN, token="", lease_until=None)
    clock("2026-11-23 10:10")
    return batch


def test_a_text_that_is_held_is_not_said_to_be_sent_once_more(nobody_knows):
    OutboundMessage.objects.update(is_held=True)
    assert progress_of.of(nobody_knows).to_send_again == 0
    assert state_of(nobody_knows) == GOES_ON


def test_a_batch_goes_on_while_a_text_of_unknown_fate_may_go_once_more(nobody_knows, clock):
    batch = nobody_knows
    assert state_of(batch) == GOES_ON
    assert progress_of.of(batch).to_send_again == 1
    assert batches.pause(batch, UserFactory.create())
    clock("2026-11-23 10:16")
    assert send_again() == 1
    assert claim(1).messages == []
    assert batches.resume(batch, UserFactory.create())
    _send(1)
    assert state_of(batch) == FINISHED


def test_a_text_of_unknown_fate_never_goes_again_once_its_batch_is_cancelled(nobody_knows, clock):
    assert batches.cancel(nobody_knows, UserFactory.create())
    clock("2026-11-23 10:16")
    assert send_again() == 0
    assert Notification.objects.get().state == NotificationState.OPEN  # it may have arrived


def test_a_text_of_unknown_fate_is_not_sent_again_to_who_wrote_since(nobody_knows, reply):
    reply(nobody_knows.entries.get().booking.msisdn, "hello?")
    assert state_of(nobody_knows) == FINISHED


def test_a_batch_goes_on_until_its_reminders_have_left(clock, drain):
    batch = start(parcels(2), with_reminder=True)
    drain()
    assert state_of(batch) == GOES_ON
    assert progress_of.of(batch).to_remind == 2
    clock("2026-11-24 16:00")  # half-way to Wed 25 Nov 21:00
    assert len(drain()) == 2
    assert state_of(batch) == FINISHED
    assert progress_of.of(batch).to_remind == 0


def test_a_cancelled_batch_is_not_called_finished(drain):
    batch = start(parcels(1))
    batches.cancel(batch, UserFactory.create())
    assert state_of(batch) == NEITHER


# What the caps leave for today


@pytest.fixture
def money(settings):
    """A cap, and the prices that the fake network asks for."""
    settings.SMS_PRICE_PER_PART, settings.SMS_DAILY_SPEND_CAP = Decimal("0.0333"), Decimal("1.00")


def previewed(bookings):
    keys = [booking.pk for booking in bookings]
    return preview(Booking.objects.filter(pk__in=keys), sender=VIRTUAL_NUMBER)


def test_the_preview_says_how_many_the_days_cap_on_spending_leaves_for_today(
    clock, queued, drain, money
):
    today = dt.date(2026, 11, 23)
    Spending.objects.create(day=today, amount=Decimal("0.40"))
    queued()
    chosen = parcels(10)
    found = previewed(chosen)
    parts = found.parts // 10
    assert found.timing.money == Decimal("0.5667")
    left = int(Decimal("0.5667") / (parts * Decimal("0.0333")))
    assert 0 < left < 10
    assert (found.timing.today, found.timing.dear) == (left, 10 - left)
    assert timezone.localdate(found.timing.ends_at) > today

    start(chosen)
    assert len(drain()) == left + 1
    assert Spending.of(today).amount <= Decimal("1.00")
    clock("2026-11-24 08:00")
    assert len(drain()) == 10 - left


def test_a_text_that_is_dearer_than_a_whole_days_cap_never_leaves(settings, money):
    settings.SMS_DAILY_SPEND_CAP = Decimal("0.01")
    found = previewed(parcels(2)).timing
    assert (found.today, found.dear, found.closed) == (0, 0, 2)


def test_without_a_cap_on_spending_nothing_is_said_of_it(settings):
    settings.SMS_DAILY_SPEND_CAP = None
    found = previewed(parcels(3)).timing
    assert (found.money, found.today, found.dear) == (None, 3, 0)


def test_what_waits_is_counted_by_the_price_of_its_country(settings, queued, network, money):
    settings.SMS_PRICES = {"GB": Decimal("0.04"), "FR": Decimal("0.10")}
    queued(parts=2, msisdn="447700900123")
    queued(parts=3, msisdn="33612345678")
    assert previewed(parcels(1)).timing.money == Decimal("0.62")


def test_customers_whom_another_batch_is_still_to_ask_go_first_and_cost_money(money):
    start(parcels(10))
    chosen = parcels(20)
    before = previewed(chosen).timing
    assert (before.ahead, before.money) == (10, Decimal("0.3340"))
    ask_waiting()
    assert previewed(chosen).timing == before


def test_what_nothing_sends_today_is_not_ahead_and_costs_nothing(queued, network, money):
    paused, cancelled = start(parcels(3)), start(parcels(1, date=TUE))
    ask_waiting()
    assert batches.pause(paused, UserFactory.create())
    Batch.objects.filter(pk=cancelled.pk).update(
        state=BatchState.CANCELLED, ended_at=timezone.now()
    )
    queued(is_held=True)
    queued(gateway="simulator")
    Consent.objects.record(queued().msisdn, is_opted_out=True, words="STOP")
    found = previewed(parcels(1)).timing
    assert (found.ahead, found.money) == (0, Decimal("1.00"))
    queued(due_at=wall("2026-11-23 10:05"))  # the gateway asked for a moment
    assert previewed(parcels(1)).timing.ahead == 1


def test_who_waits_in_a_batch_that_is_asking_is_left_out_of_the_next(drain):
    chosen = parcels(3)
    first = start(chosen)
    found = previewed(chosen)
    assert found.asked == 0
    ((reason, waiting),) = found.left_out
    assert (reason, waiting) == ("Another batch is about to ask this customer.", chosen)
    batches.cancel(first, UserFactory.create())
    assert previewed(chosen).asked == 3


def test_the_preview_says_how_many_are_more_than_one_number_gets_in_a_day(settings, drain):
    settings.SMS_PER_NUMBER_DAY = 2
    chosen = parcels(4, msisdn="447700900777")
    found = previewed(chosen).timing
    assert (found.today, found.capped, found.paused) == (2, 2, 0)
    start(chosen)
    assert len(drain()) == 2


def test_the_preview_says_how_many_wait_for_the_hour_of_their_number(settings, clock, drain):
    settings.SMS_PER_NUMBER_HOUR = 1
    chosen = parcels(2, msisdn="447700900777")
    found = previewed(chosen).timing
    assert (found.today, found.capped, found.paused) == (2, 0, 1)
    start(chosen)
    assert len(drain()) == 1
    clock("2026-11-23 11:01")
    assert len(drain()) == 1


# The clock


def test_f12_a_batch_of_1950_sends_nothing_after_2000_and_new_dates_the_next_morning(
    clock, network, drain, settings
):
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    settings.COMPANY_NAME = "Al\u2019s"
    clock("2026-11-23 19:50")
    night = SlotFactory.create(
        date=TUE, window_start=dt.time(22), window_end=dt.time(23), capacity=None
    )
    batch = start(BookingFactory.create_batch(40, slot=night), is_plain=True, with_reminder=True)
    ask_waiting(30)
    early = _send(15)
    clock("2026-11-23 20:00")
    assert drain() == []
    clock("2026-11-24 00:01")
    assert drain() == []
    clock("2026-11-24 07:59")
    assert drain() == []
    clock("2026-11-24 08:00")
    sent = [form["text"] for form in drain()]
    late = [text for text in sent if "a reminder of" not in text]
    assert (len(early), len(late)) == (15, 25)
    assert len(sent) - len(late) == 15  # half-way was in the night: now those are reminded
    assert all("1 (tomorrow Tue 24 Nov)" in message.text for message in early)
    assert all("1 (today Tue 24 Nov), 2 (tomorrow Wed" in text and "Al's" in text for text in late)
    assert progress_of.of(batch).handed_over == 40
    assert BatchEntry.objects.filter(notification__state=NotificationState.OPEN).count() == 40
    assert Notification.objects.open().exclude(remind_at=None).count() == 25
    assert list(find_contradictions()) == []


def _send(most):
    """What the pace lets out in a moment."""
    messages = claim(most).messages
    for message in messages:
        hand_over(message, gateway())
    return messages


def test_a_question_that_is_asked_afresh_takes_the_place_of_the_old_one(clock):
    batch = start(parcels(1, date=TUE), with_reminder=True)
    ask_waiting()
    first = Notification.objects.get()
    OutboundMessage.objects.update(valid_until=wall("2026-11-23 09:59"))
    ask_afresh()
    fresh = Notification.objects.get(batch_entry__batch=batch)
    assert fresh != first
    assert fresh.state == NotificationState.OPEN
    assert fresh.remind_at is not None


def timing(texts, now, ahead=0):
    """When these texts would leave, after so many others."""
    walk = Walk({text.msisdn for text in texts}, wall(now), Ahead(ahead))
    for text in texts:
        walk.take(text)
    return walk.found


@pytest.mark.parametrize(
    ("now", "rate", "count", "expected"),
    [
        ("2026-11-23 10:00", 25, 300, (300, 0, 0, 0)),
        ("2026-11-23 19:50", 1, 3000, (600, 2400, 0, 0)),
        ("2026-11-23 21:00", 25, 10, (0, 10, 0, 0)),
        ("2026-11-23 10:00", 0.01, 600, (360, 143, 97, 0)),
        ("2026-11-26 20:40", 0.01, 50, (0, 0, 0, 50)),
    ],
)
def test_timing_counts_who_goes_today_and_why_others_do_not(
    now, rate, count, expected, settings, clock
):
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    settings.SMS_RATE_PER_SECOND, settings.SMS_RATE_PER_NUMBER = rate, None
    closes = wall("2026-12-05 21:00") if expected[3] == 0 else wall("2026-11-26 21:00")
    texts = [Planned(f"4477{number:08d}", closes) for number in range(count)]
    found = timing(texts, now)
    assert (found.today, found.quiet, found.slow, found.closed) == expected


def test_what_waits_already_goes_first(settings):
    settings.QUIET_HOURS, settings.SMS_RATE_PER_SECOND = None, 1
    texts = [Planned("447700900123", wall("2026-11-26 21:00"))]
    found = timing(texts, "2026-11-23 10:00", ahead=59)
    assert found.ends_at == wall("2026-11-23 10:01")
