"""Several workers and one queue: no message is taken by two of them."""

import datetime as dt
import itertools
import threading
from collections import Counter
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from bookings.gateways import SendResult, Verdict
from bookings.models import Kind, MessageState, OutboundMessage, SendAttempt, Sender, Spending
from bookings.outbox import holding, recovery
from bookings.outbox.claiming import claim
from bookings.outbox.sending import hand_over, start_call
from tests.factories import BookingFactory

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS, MESSAGES = 8, 400


@pytest.fixture
def messages(settings):
    settings.SMS_RATE_PER_SECOND = 100_000.0
    settings.SMS_PER_NUMBER_HOUR = settings.SMS_PER_NUMBER_DAY = MESSAGES
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


def at_once(work, workers=WORKERS):
    """Run it in so many threads that connect first and start together; returns their results."""
    barrier, results, faults = threading.Barrier(workers), [], []

    def run():
        try:
            connection.ensure_connection()
            barrier.wait(120)
            results.append(work())
        except Exception as error:  # a thread's errors would be lost
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    return results


class Carrier:
    """A gateway that takes every text, or refuses one in so many."""

    name = "simulator"

    def __init__(self, refuses=0) -> None:
        self._refuses, self._calls = refuses, itertools.count(1)

    def send(self, sms) -> SendResult:
        is_refused = self._refuses and next(self._calls) % self._refuses == 0
        return SendResult(verdict=Verdict.REFUSED if is_refused else Verdict.ACCEPTED)

    def close(self) -> None:
        pass


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


def test_one_of_eight_holders_of_a_claim_begins_the_call(messages):
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
    at_once(recovery.recover_expired_claims)
    states = Counter(OutboundMessage.objects.values_list("state", flat=True))
    assert states == {MessageState.UNKNOWN: 20, MessageState.QUEUED: MESSAGES - 20}


def test_eight_workers_give_a_number_no_more_than_its_cap(messages, settings):
    settings.SMS_PER_NUMBER_HOUR = 10
    taken = [message for worker in at_once(claim_all) for message in worker]
    assert len(taken) == 10


def test_the_cap_of_a_number_holds_while_claims_turn_into_calls(messages, settings):
    settings.SMS_PER_NUMBER_HOUR = 10

    def work():
        while (claimed := claim(2)).wait is not None:
            for message in claimed.messages:
                hand_over(message, Carrier())

    OutboundMessage.objects.filter(pk__gt=messages[60].pk).delete()
    at_once(work)
    assert SendAttempt.objects.count() == 10


def test_four_workers_stay_within_the_spending_cap(messages, settings):
    """The gateway refuses every fifth text, and its money is spent on another one."""
    settings.SMS_PRICE_PER_PART = Decimal("0.05")
    settings.SMS_DAILY_SPEND_CAP = Decimal("1.00")
    carrier = Carrier(refuses=5)

    def work():
        while (claimed := claim(3)).messages:
            for message in claimed.messages:
                hand_over(message, carrier)

    at_once(work, workers=4)
    states = Counter(OutboundMessage.objects.values_list("state", flat=True))
    assert states[MessageState.SUBMITTED] == 20
    assert states[MessageState.QUEUED] == MESSAGES - 20 - states[MessageState.FAILED]
    assert Spending.of(timezone.localdate()).amount == Decimal("1.00")


def test_eight_senders_that_start_over_an_old_backup_hold_it_once(messages, caplog):
    old = timezone.now() - dt.timedelta(days=1)
    Sender.objects.create(name="of the backup", seen_at=old)
    at_once(holding.note_running)
    assert holding.held().count() == MESSAGES
    assert caplog.text.count(f"{MESSAGES} texts") == 1


def test_second_sender_at_an_old_backup_holds_no_new_text(messages):
    """The first one has held what was old, and is at work by the time that the second one looks."""
    Sender.objects.create(name="of the backup", seen_at=timezone.now() - dt.timedelta(days=1))

    def clock_in():
        holding.note_running()
        connection.close()

    second = threading.Thread(target=clock_in)
    with transaction.atomic():
        list(Sender.objects.select_for_update())
        second.start()
        second.join(1)
        Sender.objects.create(name="the first")
    second.join()
    assert not holding.held().exists()
