"""The sending rate and the circuit, shared by all workers."""

import datetime as dt
import threading
import time

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from bookings.gateways import SendResult, Verdict
from bookings.models import Circuit, Kind, MessageState, Notification, OutboundMessage, Pace
from bookings.outbox.circuit import close_circuit
from bookings.outbox.claiming import claim
from bookings.outbox.pace import database_now, slow_down
from bookings.outbox.sending import settle, start_call
from tests.factories import BookingFactory
from tests.flow.conftest import begin_call
from tests.processes import running, wait_for

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FIVE_MINUTES = dt.timedelta(minutes=5, seconds=1)
OTHER_NUMBER = "447700900001"
ACCOUNT_FAULTS = ["401", "status:4", "status:8", "status:9", "status:14"]


def states():
    return set(OutboundMessage.objects.values_list("state", flat=True))


# The pace


def test_all_workers_together_keep_the_rate_of_the_account(network, queued, settings):
    settings.SMS_RATE_PER_SECOND = 20.0
    for _ in range(100):
        queued()
    start, taken = time.monotonic(), 0
    while time.monotonic() - start < 1.5:
        taken += len(claim(100).messages)
    seconds = time.monotonic() - start
    assert 20 * seconds * 0.3 < taken <= 20 * (seconds + 0.2) + 1


def test_a_long_pause_saves_up_no_more_than_a_fifth_of_a_second(network, queued, settings):
    settings.SMS_RATE_PER_SECOND = 20.0
    for _ in range(100):
        queued()
    Pace.objects.create(sender="", next_at=timezone.now() - dt.timedelta(days=1))
    assert len(claim(100).messages) == 4


def test_each_number_keeps_a_rate_of_its_own(network, queued, settings):
    settings.SMS_RATE_PER_NUMBER = 0.1
    settings.VONAGE_NUMBERS = ["447700900000", OTHER_NUMBER]
    for _ in range(5):
        queued()
        queued(sender=OTHER_NUMBER)
    first = [message.sender for message in claim(10).messages]
    assert sorted(first) == sorted(set(first))
    second = [message.sender for message in claim(10).messages]
    assert sorted(first + second) == ["447700900000", OTHER_NUMBER]
    held_back = claim(10)
    assert held_back.wait is not None
    assert dt.timedelta() < held_back.wait <= dt.timedelta(seconds=10)
    assert not held_back.is_paused


def test_a_number_whose_rate_is_used_up_does_not_hold_up_the_others(network, queued, settings):
    settings.SMS_RATE_PER_NUMBER = 0.1
    settings.VONAGE_NUMBERS = ["447700900000", OTHER_NUMBER]
    for _ in range(3):
        queued(Kind.ACKNOWLEDGEMENT)
    queued(Kind.NOTIFICATION, sender=OTHER_NUMBER)
    taken = [message.sender for _ in range(2) for message in claim(10).messages]
    assert sorted(taken) == ["447700900000", OTHER_NUMBER]


def test_a_drain_waits_for_the_rate_of_a_number(network, queued, drain, settings):
    settings.SMS_RATE_PER_NUMBER = 5.0
    for _ in range(4):
        queued()
    assert len(drain()) == 4


@pytest.mark.parametrize(
    ("mode", "seconds"), [("429", 2), ("status:1", 0.25)], ids=["HTTP 429", "status 1"]
)
def test_throttling_is_no_failed_try_and_pauses_for_as_long_as_vonage_says(
    network, queued, mode, seconds
):
    message = queued()
    network.set_mode(mode, times=1)
    before = database_now()
    call_command("run_outbox", "--once")
    message.refresh_from_db()
    assert (message.state, message.claims) == (MessageState.QUEUED, 0)
    assert Pace.objects.get(sender="").next_at >= before + dt.timedelta(seconds=seconds)


def test_a_pause_holds_for_all_workers(network, queued):
    queued()
    settle(
        begin_call(),
        SendResult(verdict=Verdict.THROTTLED, retry_after=dt.timedelta(hours=1)),
    )
    queued()
    paused = claim(8)
    assert (paused.messages, paused.is_paused) == ([], True)
    assert paused.wait is not None
    assert paused.wait > dt.timedelta(minutes=59)


def test_a_text_that_is_throttled_again_and_again_does_not_fail(network, queued):
    message = queued()
    for _ in range(30):
        settle(begin_call(), SendResult(verdict=Verdict.THROTTLED, retry_after=dt.timedelta()))
        Pace.objects.update(next_at=database_now() - dt.timedelta(seconds=1))
    message.refresh_from_db()
    assert message.state == MessageState.QUEUED


def test_throttled_text_leaves_when_the_pause_is_over(network, queued, drain):
    queued()
    network.set_mode("429", times=1)
    assert len(drain()) == 2
    assert states() == {MessageState.SUBMITTED}


def test_a_drain_ends_though_the_gateway_throttles_for_ever(network, queued, drain):
    queued()
    network.set_mode("429")
    assert 1 <= len(drain()) <= 4
    assert states() == {MessageState.QUEUED}


def test_a_shorter_pause_does_not_end_a_longer_one(network, queued):
    queued()
    Pace.objects.create(sender="", next_at=timezone.now())
    slow_down(dt.timedelta(hours=1))
    slow_down(dt.timedelta(seconds=1))
    assert Pace.objects.get(sender="").next_at > timezone.now() + dt.timedelta(minutes=59)


def test_queued_texts_leave_at_the_rate_after_an_outage_and_expired_ones_stay(
    network, queued, drain, settings
):
    settings.SMS_RATE_PER_SECOND = 20.0
    with time_machine.travel(timezone.now() - dt.timedelta(hours=6)):
        network.set_mode("401", times=1)
        over = [queued(Kind.NOTIFICATION) for _ in range(3)]
        answers = [queued() for _ in range(30)]
        assert len(drain()) == 1
    Notification.objects.update(closes_at=timezone.now() - dt.timedelta(hours=1))
    before = database_now()
    assert {form["to"] for form in drain()} == {message.msisdn for message in answers}
    assert {OutboundMessage.objects.get(pk=message.pk).state for message in over} == {
        MessageState.CANCELLED
    }
    # The pace has moved on by a place for each, from a fifth of a second before at the most.
    moved = Pace.objects.get(sender="").next_at - before
    assert moved >= dt.timedelta(seconds=30 / 20 - 0.2 - 1 / 20)


# The circuit


@pytest.mark.parametrize("mode", ACCOUNT_FAULTS)
def test_account_refusal_opens_the_circuit_and_costs_no_tries(network, queued, drain, mode):
    for _ in range(50):
        queued()
    network.set_mode(mode)
    assert len(drain()) == 1
    assert drain() == []
    circuit = Circuit.current()
    assert circuit.opened_at is not None
    assert circuit.reason.endswith(".")
    assert states() == {MessageState.QUEUED}
    assert set(OutboundMessage.objects.values_list("claims", flat=True)) == {0}


def test_a_notification_that_was_refused_with_the_account_was_never_handed_over(
    network, queued, drain
):
    message = queued(Kind.NOTIFICATION)
    network.set_mode("status:9")
    drain()
    message.notification.refresh_from_db()
    assert message.notification.handed_over_at is None


def test_closing_the_circuit_resumes_sending(network, queued, drain):
    for _ in range(10):
        queued()
    network.set_mode("401", times=1)
    drain()
    assert close_circuit()
    assert not close_circuit()
    assert len(drain()) == 10
    assert states() == {MessageState.SUBMITTED}


def test_probe_every_five_minutes_closes_the_circuit_when_accepted(network, queued, drain):
    for _ in range(10):
        queued()
    network.set_mode("status:9", times=3)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert len(drain()) == 1
        for _ in range(2):
            clock.shift(FIVE_MINUTES)
            assert len(drain()) == 1
            assert drain() == []
        assert Circuit.current().opened_at is not None
        clock.shift(FIVE_MINUTES)
        assert len(drain()) == 10
    assert Circuit.current().opened_at is None
    assert states() == {MessageState.SUBMITTED}


def test_the_probe_waits_for_a_message_and_is_not_used_up_without_one(network, queued, drain):
    queued()
    network.set_mode("status:9", times=1)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        drain()
        OutboundMessage.objects.update(due_at=timezone.now() + 10 * FIVE_MINUTES)
        clock.shift(FIVE_MINUTES)
        assert drain() == []
        clock.shift(dt.timedelta(seconds=1))
        queued()
        assert len(drain()) == 1
    assert Circuit.current().opened_at is None


def test_a_call_that_began_before_the_circuit_opened_does_not_close_it(network, queued):
    queued()
    queued()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        one, other = begin_call(), begin_call()
        clock.shift(dt.timedelta(seconds=1))
        settle(one, SendResult(verdict=Verdict.ACCOUNT, reason="No credit."))
        settle(other, SendResult(verdict=Verdict.ACCEPTED))
    assert Circuit.current().opened_at is not None


def test_opening_the_circuit_takes_back_other_claims(network, queued):
    for _ in range(4):
        queued()
    attempt, claimed = begin_call(), claim(3).messages
    settle(attempt, SendResult(verdict=Verdict.ACCOUNT, reason="No credit."))
    assert states() == {MessageState.QUEUED}
    assert [start_call(message) for message in claimed] == [None] * 3


def test_a_probe_whose_receipt_overtakes_its_answer_closes_the_circuit(network, queued):
    queued()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        settle(begin_call(), SendResult(verdict=Verdict.ACCOUNT, reason="No."))
        clock.shift(FIVE_MINUTES)
        attempt = begin_call()
        attempt.receipts.create(gateway_message_id="0A1", status="delivered")
        OutboundMessage.objects.get().update_state()
        settle(attempt, SendResult(verdict=Verdict.ACCEPTED))
    assert Circuit.current().opened_at is None


def test_a_probe_that_is_refused_by_itself_leaves_the_circuit_open(network, queued, drain):
    queued()
    network.set_mode("status:6")
    network.set_mode("401", times=1)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        drain()
        clock.shift(FIVE_MINUTES)
        assert len(drain()) == 1
    assert Circuit.current().opened_at is not None


@pytest.mark.django_db(transaction=True)
def test_sender_with_eight_threads_fails_no_text_when_the_circuit_opens(
    vonage, queued, process_env, tmp_path
):
    booking = BookingFactory.create()
    process_env["SMS_PER_NUMBER_HOUR"] = process_env["SMS_PER_NUMBER_DAY"] = "1000"
    for _ in range(400):
        queued(booking=booking)
    vonage.set_mode("status:9")
    with running("run_outbox", env=process_env, log=tmp_path / "sender"):
        wait_for(lambda: Circuit.current().opened_at)
        wait_for(lambda: states() == {MessageState.QUEUED})
    assert states() == {MessageState.QUEUED}
    assert vonage.count() <= 16


@pytest.mark.django_db(transaction=True)
def test_eight_workers_at_once_keep_the_rate(network, queued, settings):
    settings.SMS_RATE_PER_SECOND = 40.0
    for _ in range(200):
        queued()
    taken, barrier = [], threading.Barrier(8)

    def work():
        connection.ensure_connection()
        try:
            barrier.wait(120)
            end = time.monotonic() + 2
            while time.monotonic() < end:
                taken.extend(claim(5).messages)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    assert len({message.pk for message in taken}) == len(taken)
    assert 20 < len(taken) <= 40 * (seconds + 0.2) + 1
