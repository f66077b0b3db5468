"""Bugs found by campaigns, each in its smallest form."""

import datetime as dt

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.gateways import PartResult, SendResult, Verdict
from bookings.models import MessageState, OutboundMessage, SendAttempt, Spending
from bookings.operations.invariants import find_contradictions
from bookings.outbox import recovery
from bookings.outbox.claiming import claim
from bookings.outbox.sending import settle, start_call
from tests.factories import NotificationFactory, OutboundMessageFactory

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def die() -> None:
    """Let the leases of the crashed sender expire, and recover its claims."""
    long_ago = timezone.now() - dt.timedelta(hours=1)
    OutboundMessage.objects.filter(state=MessageState.SENDING).update(lease_until=long_ago)
    recovery.recover_expired_claims()


def test_a_text_that_kills_its_sender_takes_no_other_with_it():
    """Claimed together again and again, all of a batch were given up for the one in it (campaign `kill`)."""
    poison, *others = OutboundMessageFactory.create_batch(3)
    for _ in range(recovery.MOST_CLAIMS):
        assert poison in claim(4).messages
        die()
    poison.refresh_from_db()
    assert poison.state == MessageState.FAILED
    for other in others:
        other.refresh_from_db()
        assert (other.state, other.claims) == (MessageState.QUEUED, 1)


def test_result_recorded_at_the_second_try_costs_the_gateways_price():
    """The daily sum had missed the amount counted by the rolled back try (campaign `soak`)."""
    OutboundMessageFactory.create()
    [message] = claim(1).messages
    attempt = start_call(message)
    assert attempt
    faults = iter([OperationalError("the disk is full")])

    def fail_once(execute, sql, *statement):
        if "spending" in sql and sql.startswith("UPDATE"):
            for fault in faults:
                raise fault
        return execute(sql, *statement)

    part = PartResult(message_id="0A1", status="0", price="0.03330000", network="23410")
    with connection.execute_wrapper(fail_once):
        settle(attempt, SendResult(verdict=Verdict.ACCEPTED, parts=(part,)))
    assert not list(faults)
    assert str(SendAttempt.objects.get().cost) == "0.03330000"
    assert str(Spending.objects.get().amount) == "0.03330000"


def test_options_repeated_after_an_answer_are_no_contradiction(network, reply):
    """Both texts are queued, and both are true (campaign `states`)."""
    asked = NotificationFactory.create()
    reply(asked.msisdn, "1")
    reply(asked.msisdn, "1 or 2")
    assert list(find_contradictions()) == []


def test_the_answer_to_a_start_is_no_contradiction(network, reply, drain):
    """It is sent at once, and within a minute of the START (campaign `states`)."""
    asked = NotificationFactory.create()
    with time_machine.travel(timezone.now()) as clock:
        reply(asked.msisdn, "STOP")
        clock.shift(3600)
        reply(asked.msisdn, "START")
        assert len(drain()) == 1
        assert list(find_contradictions()) == []


def test_reinstatement_cancels_a_queued_answer_about_the_cancellation(network, reply, drain):
    """The answer to a late digit had named the cancellation and stayed queued (campaign `states`)."""
    asked = NotificationFactory.create()
    dispatch.cancel(asked.booking)
    reply(asked.msisdn, "2")
    assert "is cancelled" in OutboundMessage.objects.queued().get(in_reply_to__isnull=False).text
    dispatch.reinstate(asked.booking)
    assert not OutboundMessage.objects.queued().filter(in_reply_to__isnull=False).exists()
    drain()
    assert not [post for post in network.posts if "is cancelled" in post.form["text"]]
