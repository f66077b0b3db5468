"""A batch is finished when the last of its texts has left."""

import pytest

from bookings.models import (
    ActKind,
    Batch,
    BatchState,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    StaffAct,
)
from bookings.notifications import batches
from bookings.notifications.batches import ask_waiting
from bookings.notifications.batches import progress as progress_of
from bookings.outbox.claiming import claim
from bookings.outbox.recovery import send_again
from tests.factories import UserFactory
from tests.flow.batches.conftest import (
    FINISHED,
    GOES_ON,
    NEITHER,
    parcels,
    send_now,
    start,
    state_of,
)
from tests.flow.clock import wall
from tests.flow.conftest import begin_call

pytestmark = [pytest.mark.django_db, pytest.mark.database]


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
    assert [
        turn(batch, user)
        for turn in (batches.pause_batch, batches.resume_batch, batches.cancel_batch)
    ] == [False] * 3
    batch.refresh_from_db()
    assert batch.state == BatchState.RUNNING
    assert not StaffAct.objects.exclude(kind=ActKind.ASKED_MANY).exists()


def test_batch_without_recipients_is_finished(clock):
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
    assert batches.pause_batch(batch, UserFactory.create())
    assert state_of(batch) == GOES_ON  # paused, and something is left to resume


@pytest.fixture
def batch_with_unknown_outcome(clock) -> Batch:
    """Start a batch of one text whose outcome is unknown: its sender stopped during the call."""
    batch = start(parcels(1))
    ask_waiting()
    begin_call()
    OutboundMessage.objects.update(state=MessageState.UNKNOWN, token="", lease_until=None)
    clock("2026-11-23 10:10")
    return batch


def test_a_text_that_is_held_is_not_said_to_be_sent_once_more(batch_with_unknown_outcome):
    OutboundMessage.objects.update(is_held=True)
    assert progress_of.of(batch_with_unknown_outcome).to_send_again == 0
    assert state_of(batch_with_unknown_outcome) == GOES_ON


def test_batch_goes_on_while_a_text_with_unknown_outcome_may_be_resent(
    batch_with_unknown_outcome, clock
):
    batch = batch_with_unknown_outcome
    assert state_of(batch) == GOES_ON
    assert progress_of.of(batch).to_send_again == 1
    assert batches.pause_batch(batch, UserFactory.create())
    clock("2026-11-23 10:16")
    assert send_again() == 1
    assert claim(1).messages == []
    assert batches.resume_batch(batch, UserFactory.create())
    send_now(1)
    assert state_of(batch) == FINISHED


def test_text_with_unknown_outcome_is_not_resent_after_batch_cancellation(
    batch_with_unknown_outcome, clock
):
    assert batches.cancel_batch(batch_with_unknown_outcome, UserFactory.create())
    clock("2026-11-23 10:16")
    assert send_again() == 0
    assert Notification.objects.get().state == NotificationState.OPEN  # it may have arrived


def test_text_with_unknown_outcome_is_not_resent_after_a_reply(batch_with_unknown_outcome, reply):
    reply(batch_with_unknown_outcome.entries.get().booking.msisdn, "hello?")
    assert state_of(batch_with_unknown_outcome) == FINISHED


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
    batches.cancel_batch(batch, UserFactory.create())
    assert state_of(batch) == NEITHER
