"""Receipts, opt-outs, sweeps and replays at the same instant: each counts once, and none is lost."""

import datetime as dt
import logging

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from bookings.management.commands.replay_inbound import replay
from bookings.models import (
    Consent,
    ConsentChange,
    MessageState,
    Notification,
    OutboundMessage,
    Outcome,
)
from bookings.notifications.asking import notify, renew_stale
from bookings.outbox import circuit, delivery_receipts, recovery
from tests.factories import (
    STRANGER,
    BookingFactory,
    DeliveryReceiptFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SendAttemptFactory,
    SentPartFactory,
)
from tests.races.simultaneous import at_once, post, reply, sealed

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS, MANY = range(5), 6


@pytest.mark.parametrize("round_", ROUNDS)
def test_simultaneous_opt_outs_record_one_change(round_):
    """The number is unknown: it has no rows to lock."""
    Consent.objects.create(msisdn=STRANGER)
    assert at_once(*[reply(STRANGER, "STOP") for _ in range(MANY)]) == [200] * MANY
    assert Consent.objects.is_opted_out(STRANGER)
    assert ConsentChange.objects.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_a_parked_receipt_is_applied_by_one_of_many_sweeps(round_):
    part = SentPartFactory.create()
    DeliveryReceiptFactory.create(
        attempt=None, client_ref="", gateway_message_id=part.gateway_message_id
    )
    assert sorted(at_once(*[delivery_receipts.process_parked] * MANY)) == [0] * (MANY - 1) + [1]


@pytest.mark.parametrize("round_", ROUNDS)
def test_receipts_of_all_parts_at_once_add_up(round_):
    attempt = SendAttemptFactory.create()
    parts = SentPartFactory.create_batch(MANY, attempt=attempt)
    said = [
        sealed(
            {
                "msisdn": attempt.message.msisdn,
                "to": attempt.message.sender,
                "messageId": part.gateway_message_id,
                "status": "delivered",
                "err-code": "0",
                "scts": "2611251200",
                "client-ref": attempt.client_ref,
            }
        )
        for part in parts
    ]
    assert at_once(*[post("/webhooks/delivery-receipt", each) for each in said]) == [200] * MANY
    attempt.message.refresh_from_db()
    assert attempt.message.state == MessageState.DELIVERED


@pytest.mark.parametrize("round_", ROUNDS)
def test_a_message_is_replayed_by_one_of_two(round_):
    asked = NotificationFactory.create()
    kept = InboundMessageFactory.create(msisdn=asked.msisdn, text="2", outcome=Outcome.ERROR)
    said = at_once(lambda: replay(kept.pk), lambda: replay(kept.pk))
    assert sorted(isinstance(each, CommandError) for each in said) == [False, True], said
    assert asked.booking.slot_changes.count() == 1
    assert kept.answers.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_one_of_many_sweeps_asks_an_outdated_notification_afresh(round_):
    asked = notify(BookingFactory.create())
    OutboundMessage.objects.update(valid_until=timezone.now())
    assert set(at_once(*[renew_stale] * MANY)) <= {0, 1}
    assert Notification.objects.count() == 2
    assert Notification.objects.open().get().booking == asked.booking
    assert OutboundMessage.objects.queued().count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_one_of_many_sweeps_resends_a_notification_of_unknown_outcome(round_):
    message = OutboundMessageFactory.create(
        state=MessageState.UNKNOWN, call_started_at=timezone.now() - dt.timedelta(hours=1)
    )
    SendAttemptFactory.create(message=message, state=MessageState.UNKNOWN, verdict="unknown")
    assert sum(at_once(*[recovery.send_again] * MANY)) == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_the_circuit_is_opened_once_by_many(round_, caplog):
    with caplog.at_level(logging.ERROR):
        said = at_once(*[lambda: circuit.open_circuit("no balance")] * MANY)
    assert said == [None] * MANY
    assert caplog.text.count("Circuit opened") == 1
