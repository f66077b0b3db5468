"""A paused or cancelled batch sends no more notifications, but replies are still answered."""

import datetime as dt

import pytest

from bookings.models import (
    Batch,
    BatchState,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    SlotOption,
)
from bookings.notifications import batches
from bookings.notifications.batches import ask_waiting
from bookings.notifications.batches import progress as progress_of
from bookings.operations.invariants import find_contradictions
from tests.factories import UserFactory
from tests.flow.batches.conftest import FINISHED, TUE, parcels, send_now, start, state_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_paused_batch_asks_nobody_and_sends_nothing(drain):
    batch, other = start(parcels(4)), start(parcels(1, date=TUE))
    ask_waiting(2)
    batches.pause_batch(batch, UserFactory.create())
    assert len(drain()) == 1
    assert other.entries.get().notification is not None
    assert progress_of.of(batch).queued == 2
    batches.resume_batch(batch, UserFactory.create())
    assert len(drain()) == 4


def test_cancelling_a_batch_withdraws_queued_texts_and_keeps_sent_ones(drain, reply):
    gone, *_ = chosen = parcels(4)
    batch = start(chosen)
    ask_waiting(1)
    drain_one = drain()  # all are asked and sent
    assert len(drain_one) == 4
    second = start(parcels(4, date=TUE))
    ask_waiting(2)
    assert batches.cancel_batch(second, UserFactory.create())
    assert not batches.cancel_batch(second, UserFactory.create())
    assert not batches.cancel_batch(batch, UserFactory.create())  # nothing of it is left to cancel
    assert drain() == []
    assert Notification.objects.open().count() == 4
    assert reply(gone.msisdn, "2").outcome == "moved"
    withdrawn = Notification.objects.filter(state=NotificationState.WITHDRAWN)
    assert withdrawn.count() == 2
    assert not SlotOption.objects.filter(notification__in=withdrawn, is_held=True).exists()
    assert progress_of.of(second).left_out == 2
    assert progress_of.of(second).cancelled == 2
    assert list(find_contradictions()) == []


def test_sweep_withdraws_a_text_queued_during_the_batch_cancellation(drain):
    batch = start(parcels(1))
    ask_waiting()
    Batch.objects.update(state=BatchState.CANCELLED, ended_at=dt.datetime.now(dt.UTC))
    assert drain() == []
    assert OutboundMessage.objects.get().state == MessageState.CANCELLED
    assert progress_of.of(batch).cancelled == 1


@pytest.fixture
def half_asked(drain) -> Batch:
    """Start a batch in which one customer has the text and another waits."""
    batch = start(parcels(2))
    ask_waiting(1)
    send_now(1)
    return batch


def answer_of(reply, batch):
    """Return the queued answer after the asked customer chooses another day."""
    asked = batch.entries.exclude(notification=None).get().booking
    inbound = reply(asked.msisdn, "2")
    assert inbound.outcome == "moved"
    return inbound.answers.get()


@pytest.mark.parametrize("turn", [batches.pause_batch, batches.cancel_batch])
def test_a_reply_to_a_stopped_batch_is_answered(turn, half_asked, reply, drain):
    assert turn(half_asked, UserFactory.create())
    answer = answer_of(reply, half_asked)
    assert [form["text"] for form in drain()] == [answer.text]


@pytest.mark.parametrize("text", ["hello?", "9"], ids=["not understood", "not printed"])
def test_repeated_options_leave_while_the_batch_is_paused(text, half_asked, reply, drain):
    assert batches.pause_batch(half_asked, UserFactory.create())
    inbound = reply(half_asked.entries.exclude(notification=None).get().booking.msisdn, text)
    assert [form["text"] for form in drain()] == [inbound.answers.get().text]


def test_an_answer_that_waits_is_not_cancelled_with_its_batch(half_asked, reply, drain):
    answer = answer_of(reply, half_asked)
    assert batches.cancel_batch(half_asked, UserFactory.create())
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
    assert not batches.cancel_batch(batch, UserFactory.create())
    assert [form["text"] for form in drain()] == [answer.text]
    assert progress_of.of(batch).last_at == finished_at


def test_queued_answer_after_batch_cancellation_passes_the_invariants(clock, half_asked, reply):
    assert batches.cancel_batch(half_asked, UserFactory.create())
    clock("2026-11-23 10:30")
    answer_of(reply, half_asked)
    assert list(find_contradictions()) == []
