"""Several workers and one queue: no message is taken by two of them."""

import datetime as dt
import threading
from collections import Counter

import pytest
from django.db import connection
from django.utils import timezone

from bookings.models import Kind, MessageState, OutboundMessage
from bookings.outbox import recovery
from bookings.outbox.claiming import claim
from bookings.outbox.sending import start_call
from tests.factories import BookingFactory

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS, MESSAGES = 8, 400


@pytest.fixture
def messages(settings):
    settings.SMS_RATE_PER_SECOND = 100_000.0
    booking, now = BookingFactory.create(), timezone.now()
    return OutboundMessage.objects.bulk_create(
        OutboundMessage(
            idempotency_key=f"test:{number}",
            kind=Kind.ACKNOWLEDGEMENT,
            msisdn=booking.msisdn,
            sender="447700900000",
            text="Acme: hello.",
            booking=booking,
            gateway="simulator",
            queued_at=now,
            due_at=now,
        )
        for number in range(MESSAGES)
    )


def at_once(work):
    """Do it in eight threads that connect first and start together; returns what each returned."""
    barrier, results, faults = threading.Barrier(WORKERS), [], []

    def run():
        try:
            connection.ensure_connection()
            barrier.wait(20)
            results.append(work())
        except Exception as error:  # a thread's errors would be lost
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    return results


def claim_all():
    taken = []
    while (claimed := claim(5)).wait is not None:
        taken += claimed.messages
    return taken


def test_eight_workers_take_each_of_400_messages_once(messages):
    taken = Counter(message.pk for worker in at_once(claim_all) for message in worker)
    assert set(taken) == {message.pk for message in messages}
    assert set(taken.values()) == {1}


def test_eight_workers_that_claim_in_one_moment_take_different_messages(messages):
    """One claim each, so that all of them look at the same rows."""
    for _ in range(5):
        taken = Counter(m.pk for worker in at_once(lambda: claim(5).messages) for m in worker)
        assert len(taken) == WORKERS * 5
        assert set(taken.values()) == {1}


def test_a_call_is_begun_by_one_of_eight_who_hold_the_same_claim(messages):
    (message,) = claim(1).messages
    attempts = at_once(lambda: start_call(message))
    assert len([attempt for attempt in attempts if attempt is not None]) == 1
    assert message.attempts.count() == 1


def test_eight_sweeps_at_once_settle_each_lease_once(messages):
    for message in claim(20).messages:
        start_call(message)
    claim(20)
    past = timezone.now() - dt.timedelta(hours=1)
    OutboundMessage.objects.filter(state=MessageState.SENDING).update(lease_until=past)
    at_once(recovery.recover)
    states = Counter(OutboundMessage.objects.values_list("state", flat=True))
    assert states == {MessageState.UNKNOWN: 20, MessageState.QUEUED: MESSAGES - 20}
