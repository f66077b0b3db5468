"""The effect of each gateway answer: sent, refused, lost, tried again."""

import datetime as dt

import pytest
import time_machine
from django.utils import timezone

from bookings.models import Kind, MessageState, Notification

pytestmark = pytest.mark.django_db

A_MINUTE = dt.timedelta(minutes=1)
LOST_ANSWERS = [
    *("accept_then_close", "accept_then_reset", "half_headers", "half_body"),
    *("html200", "empty200"),
]


@pytest.mark.parametrize("status", ["2", "3", "6", "7", "12", "15", "22", "23", "29", "33"])
def test_a_definite_refusal_fails_at_once_with_plain_words(network, queued, drain, status):
    message = queued()
    network.set_mode(f"status:{status}")
    drain()
    assert drain() == []
    message.refresh_from_db()
    assert message.state == MessageState.FAILED
    assert message.reason.endswith(".")
    assert message.attempts.get().code == status


def test_partially_accepted_text_fails_and_is_not_resent(network, queued, drain):
    message = queued(text="Acme: " + "x" * 200)
    network.set_mode("partial")
    drain()
    assert drain() == []
    message.refresh_from_db()
    assert (message.state, message.attempts.get().parts.count()) == (MessageState.FAILED, 1)


@pytest.mark.parametrize("mode", LOST_ANSWERS)
def test_a_lost_answer_leaves_the_outcome_unknown_and_is_one_post(network, queued, drain, mode):
    message = queued()
    network.set_mode(mode)
    drain()
    assert drain() == []
    message.refresh_from_db()
    assert message.state == MessageState.UNKNOWN
    assert message.reason
    assert network.count() == 1


def test_an_error_inside_vonage_is_tried_eight_times_and_then_given_up(network, queued, drain):
    message = queued()
    network.set_mode("500")
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        for tries in range(1, 9):
            drain()
            assert network.count() == tries
            message.refresh_from_db()
            clock.move_to(message.due_at - dt.timedelta(seconds=1))
            drain()
            assert network.count() == tries  # it is not due yet
            clock.move_to(message.due_at)
    assert message.state == MessageState.FAILED
    assert "8 tries" in message.reason
    assert network.count() == 8
    assert dt.timedelta(hours=1) < message.due_at - start < dt.timedelta(hours=4)


def test_a_night_in_the_queue_does_not_use_up_the_tries(network, queued, drain):
    message = queued(queued_at=timezone.now() - dt.timedelta(hours=12))
    network.set_mode("500", times=1)
    drain()
    message.refresh_from_db()
    assert message.state == MessageState.QUEUED
    with time_machine.travel(timezone.now() + A_MINUTE):
        drain()
    message.refresh_from_db()
    assert message.state == MessageState.SUBMITTED
    assert [attempt.number for attempt in message.attempts.all()] == [1, 2]


@pytest.mark.parametrize(
    ("mode", "is_handed_over"),
    [("ok", True), ("half_body", True), ("500", False), ("status:9", False), ("status:6", False)],
)
def test_notification_counts_as_handed_over_only_if_it_may_have_left(
    network, queued, drain, mode, is_handed_over
):
    message = queued(Kind.NOTIFICATION)
    network.set_mode(mode)
    drain()
    notification = Notification.objects.get(pk=message.notification_id)
    assert (notification.handed_over_at is not None) is is_handed_over


def test_refused_second_try_keeps_the_first_trys_notification_readable(network, queued, drain):
    message = queued(Kind.NOTIFICATION)
    network.set_mode("half_body", times=1)
    network.set_mode("status:6")
    network.set_mode("half_body", times=1)
    drain()
    with time_machine.travel(timezone.now() + 16 * A_MINUTE):
        drain()
    assert message.attempts.count() == 2
    assert Notification.objects.get(pk=message.notification_id).handed_over_at is not None
