"""One call to the gateway: begun once, with no transaction open, and written down whatever happens."""

import datetime as dt
import threading
import time

import pytest
from django.db import InternalError, OperationalError, connection, transaction
from django.utils import timezone

from bookings.gateways import SendResult, Verdict
from bookings.models import MessageState, OutboundMessage, SendAttempt
from bookings.outbox.claiming import claim
from bookings.outbox.sending import hand_over
from tests.processes import running, wait_for

pytestmark = [pytest.mark.django_db, pytest.mark.database]

A_MINUTE = dt.timedelta(minutes=1)


class Carrier:
    """A gateway that runs a function during its call."""

    name = "vonage"

    def __init__(self, look) -> None:
        self.look = look

    def send(self, sms) -> SendResult:
        return self.look(sms) or SendResult(verdict=Verdict.ACCEPTED)

    def close(self) -> None:
        pass


def take_the_claim(message):
    OutboundMessage.objects.filter(pk=message.pk).update(token="another")


def cancel(message):
    OutboundMessage.objects.filter(pk=message.pk).cancel("moved")


def run_out(message):
    past = timezone.now() - A_MINUTE
    OutboundMessage.objects.filter(pk=message.pk).update(lease_until=past)


@pytest.mark.parametrize("happens", [take_the_claim, cancel, run_out])
def test_a_claim_that_was_lost_sends_nothing(queued, network, happens):
    queued()
    (message,) = claim(1).messages
    happens(message)
    hand_over(message, Carrier(lambda sms: pytest.fail("called")))
    assert SendAttempt.objects.count() == 0


def test_gateway_bug_leaves_one_outcome_unknown_and_other_texts_leave(queued, network):
    poisoned, other = queued(text="poison"), queued()

    def fail_on_poison(sms):
        if sms.text == "poison":
            raise RuntimeError("told to")

    for message in claim(2).messages:
        hand_over(message, Carrier(fail_on_poison))
    poisoned.refresh_from_db()
    other.refresh_from_db()
    assert (poisoned.state, other.state) == (MessageState.UNKNOWN, MessageState.SUBMITTED)


def in_thread(act):
    """Run it in a thread with its own database connection."""
    found = []

    def run():
        try:
            found.append(act())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.django_db(transaction=True)
def test_the_start_of_a_call_is_committed_before_it_and_no_transaction_is_open_during_it(
    queued, network
):
    message = queued()
    seen = []

    def look(sms):
        stored = in_thread(lambda: OutboundMessage.objects.get(pk=message.pk))
        attempts = in_thread(lambda: list(stored.attempts.values_list("client_ref", flat=True)))
        seen.append((stored.call_started_at is not None, attempts, connection.in_atomic_block))

    (claimed,) = claim(1).messages
    hand_over(claimed, Carrier(look))
    assert seen == [(True, [f"{message.ref}-1"], False)]


@pytest.mark.django_db(transaction=True)
def test_an_answer_is_written_down_though_the_database_is_busy(queued, network):
    message = queued()
    is_locked, may_go = threading.Event(), threading.Event()

    def lock():
        with transaction.atomic():
            OutboundMessage.objects.select_for_update().get(pk=message.pk)
            is_locked.set()
            may_go.wait(10)
        connection.close()

    blocker = threading.Thread(target=lock)

    def get_busy(sms):
        blocker.start()
        assert is_locked.wait(10)
        threading.Timer(0.5, may_go.set).start()
        impatient = {
            "sqlite": "PRAGMA busy_timeout = 50",
            "postgresql": "SET lock_timeout = '50ms'",
        }
        with connection.cursor() as cursor:
            cursor.execute(impatient[connection.vendor])

    (claimed,) = claim(1).messages
    try:
        hand_over(claimed, Carrier(get_busy))
    finally:
        may_go.set()
        blocker.join()
        connection.close()
    message.refresh_from_db()
    assert message.state == MessageState.SUBMITTED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [OperationalError, InternalError], ids=["away", "read-only"])
def test_an_answer_is_written_down_though_the_database_is_away_for_long(
    fault, queued, network, monkeypatch
):
    """The answer comes only once: without it the outcome of the text is unknown."""
    message = queued()
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    faults = iter(range(25))

    def be_away(execute, sql, *rest):
        is_settling = sql.startswith('UPDATE "bookings_sendattempt"')
        if is_settling and next(faults, None) is not None:
            raise fault("the database cannot be written to")
        return execute(sql, *rest)

    (claimed,) = claim(1).messages
    with connection.execute_wrapper(be_away):
        hand_over(claimed, Carrier(lambda sms: None))
    message.refresh_from_db()
    assert (message.state, next(faults, None)) == (MessageState.SUBMITTED, None)


@pytest.mark.django_db(transaction=True)
def test_a_sender_that_is_told_to_stop_finishes_the_calls_under_way(
    vonage, queued, process_env, tmp_path
):
    vonage.set_mode("slow:2")
    message = queued()
    with running("run_outbox", env=process_env, log=tmp_path / "sender") as sender:
        wait_for(vonage.count)
        sender.terminate()
        assert sender.wait(15) == 0
    message.refresh_from_db()
    assert (message.state, vonage.count()) == (MessageState.SUBMITTED, 1)
