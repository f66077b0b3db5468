"""Delivery receipts over the real webhook: all are stored, and no state goes back."""

import datetime as dt
from itertools import permutations

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookings.customers import consent
from bookings.gateways import PartResult, SendResult, Verdict
from bookings.models import (
    Booking,
    Consent,
    ConsentChange,
    DeliveryReceipt,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    Slot,
    SlotChange,
    SlotOption,
)
from bookings.operations.maintenance import sweep
from bookings.outbox import delivery_receipts
from bookings.outbox.sending import settle
from tests.factories import SendAttemptFactory, SentPartFactory
from tests.flow.conftest import begin_call, hand_over_due
from tests.network import Post

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TWO_PARTS = "Acme: " + "x" * 200
STATUSES = ("accepted", "buffered", "delivered", "expired", "failed", "rejected", "unknown")


def state_of(message):
    message.refresh_from_db()
    return message.state


@pytest.fixture
def sent(network, queued):
    """Return a sent message and its POST."""

    def send(**fields):
        message = queued(**fields)
        hand_over_due()
        return message, network.posts[-1]

    return send


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("accepted", MessageState.ACCEPTED),
        ("buffered", MessageState.BUFFERED),
        ("delivered", MessageState.DELIVERED),
        ("expired", MessageState.EXPIRED),
        ("failed", MessageState.FAILED),
        ("rejected", MessageState.REJECTED),
        ("unknown", MessageState.SUBMITTED),
        ("a new word", MessageState.SUBMITTED),
    ],
)
def test_receipt_with_any_content_is_stored(sent, report, status, state):
    message, post = sent()
    receipt = report(post, status)
    assert receipt.status == status
    assert receipt.attempt == message.attempts.get()
    assert state_of(message) == state


def test_a_receipt_without_client_ref_is_matched_by_the_message_id(sent, report):
    message, post = sent()
    report(post, client_ref=None)
    assert state_of(message) == MessageState.DELIVERED


def test_a_receipt_with_a_foreign_client_ref_is_matched_by_the_message_id(sent, report):
    message, post = sent()
    report(post, client_ref="somebody else's")
    assert state_of(message) == MessageState.DELIVERED


def test_the_same_receipt_twice_is_one(sent, report):
    message, post = sent()
    report(post)
    report(post)
    assert DeliveryReceipt.objects.count() == 1
    assert state_of(message) == MessageState.DELIVERED


def test_a_receipt_for_nothing_of_ours_is_stored_and_parked(network, report):
    post = Post(form={"to": "447700900001", "from": "x"}, message_ids=("0A1",), connection=1, at=0)
    receipt = report(post)
    sweep()
    receipt.refresh_from_db()
    assert receipt.attempt is None
    assert receipt in DeliveryReceipt.objects.parked()


def started(queued):
    message = queued()
    attempt = begin_call()
    form = {"to": message.msisdn, "from": message.sender, "client-ref": attempt.client_ref}
    return message, attempt, Post(form=form, message_ids=("0A1",), connection=1, at=0)


ACCEPTED = SendResult(
    verdict=Verdict.ACCEPTED, code="0", parts=(PartResult(message_id="0A1", status="0"),)
)


def test_a_receipt_that_comes_before_our_own_settle_counts(network, queued, report):
    message, attempt, post = started(queued)
    report(post)
    assert state_of(message) == MessageState.DELIVERED
    settle(attempt, ACCEPTED)
    assert state_of(message) == MessageState.DELIVERED
    assert message.attempts.get().parts.count() == 1


def test_any_answer_about_a_part_can_be_stored(network, queued):
    message, attempt, _ = started(queued)
    parts = tuple(
        PartResult(message_id=f"{number}" * 200, status="0", price=price, network="x" * 99)
        for number, price in enumerate(["NaN", "12345678901.5", "0.0333", "-1", "1e9", "free"])
    )
    settle(attempt, SendResult(verdict=Verdict.ACCEPTED, code="0" * 99, parts=parts))
    assert state_of(message) == MessageState.SUBMITTED
    assert message.attempts.get().parts.count() == 6


def test_early_receipt_without_client_ref_is_parked_and_applied_later(network, queued, report):
    message, attempt, post = started(queued)
    receipt = report(post, client_ref=None)
    assert receipt.attempt is None
    settle(attempt, ACCEPTED)
    assert state_of(message) == MessageState.SUBMITTED
    sweep()
    assert state_of(message) == MessageState.DELIVERED
    assert delivery_receipts.process_parked() == 0


def test_receipt_resolves_an_unknown_outcome(network, queued, drain, report):
    message = queued()
    network.set_mode("half_body")
    drain()
    assert state_of(message) == MessageState.UNKNOWN
    report(network.posts[0])
    assert state_of(message) == MessageState.DELIVERED
    assert message.reason == ""


def test_a_text_of_two_parts_is_delivered_when_both_are(sent, report):
    message, post = sent(text=TWO_PARTS)
    report(post, part=2)
    assert state_of(message) == MessageState.SUBMITTED
    report(post, part=1)
    assert state_of(message) == MessageState.DELIVERED


def test_a_text_of_two_parts_has_failed_when_one_has(sent, report):
    message, post = sent(text=TWO_PARTS)
    report(post, "failed", part=2, err_code="6")
    report(post, part=1)
    assert state_of(message) == MessageState.FAILED


@pytest.mark.parametrize("order", list(permutations(["failed", "delivered", "expired"])), ids=str)
def test_contradicting_receipts_end_delivered_in_any_order(sent, report, order):
    message, post = sent()
    for status in order:
        report(post, status)
    assert state_of(message) == MessageState.DELIVERED
    assert DeliveryReceipt.objects.count() == 3
    assert "Ask the customer" in message.reason


RECEIPTS = st.tuples(st.sampled_from([1, 2]), st.sampled_from(STATUSES))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(RECEIPTS, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_up_to_five_receipts_end_the_same_in_any_order(report, told, random):
    shuffled = random.sample(told, len(told))
    first, second = (outcome_of(report, order) for order in (told, shuffled))
    assert first == second


def outcome_of(report, told):
    attempt = SendAttemptFactory.create(message__kind=Kind.ACKNOWLEDGEMENT)
    parts = [SentPartFactory.create(attempt=attempt).gateway_message_id for _ in range(2)]
    form = {"to": attempt.message.msisdn, "from": "x", "client-ref": attempt.client_ref}
    post = Post(form=form, message_ids=tuple(parts), connection=1, at=0)
    for part, status in told:
        report(post, status, part=part)
    return OutboundMessage.objects.get(pk=attempt.message_id).state


@pytest.mark.parametrize("status", ["failed", "rejected", "expired"])
def test_error_code_9_opts_the_customer_out(sent, report, status):
    message, post = sent()
    receipt = report(post, status, err_code="9")
    assert Consent.objects.is_opted_out(message.msisdn)
    change = ConsentChange.objects.get()
    assert (change.msisdn, change.receipt) == (message.msisdn, receipt)


@pytest.mark.parametrize(("status", "err_code"), [("failed", "1"), ("delivered", "9")])
def test_other_receipts_do_not_opt_out(sent, report, status, err_code):
    message, post = sent()
    report(post, status, err_code=err_code)
    assert not Consent.objects.is_opted_out(message.msisdn)


@pytest.mark.parametrize(
    ("err_code", "words"),
    [("3", "no longer in use"), ("2", "off or out of reach"), ("99", "error code 99")],
)
def test_staff_read_in_plain_words_why_a_text_did_not_arrive(sent, report, err_code, words):
    message, post = sent()
    report(post, "failed", err_code=err_code)
    message.refresh_from_db()
    assert words in message.reason


def test_opt_out_by_receipt_cancels_queued_texts(sent, report, queued, drain):
    message, post = sent()
    waiting = queued(msisdn=message.msisdn)
    report(post, "failed", err_code="9")
    assert drain() == []
    assert state_of(waiting) == MessageState.CANCELLED


def test_an_opt_out_by_receipt_counts_once_so_that_a_later_start_stands(network, queued, report):
    message, attempt, post = started(queued)
    report(post, "failed", err_code="9", client_ref=None)
    settle(attempt, ACCEPTED)
    sweep()
    assert Consent.objects.is_opted_out(message.msisdn)
    consent.change(message.msisdn, is_opted_out=False, words="START")
    report(post, "failed", err_code="9", client_ref=None)
    sweep()
    assert not Consent.objects.is_opted_out(message.msisdn)


def test_no_receipt_touches_anything_but_its_message(sent, report):
    """Some carriers report lost texts as delivered, so receipts decide nothing else."""
    message, post = sent(kind=Kind.NOTIFICATION)
    tables = (Booking, Slot, SlotChange, Notification, SlotOption)
    before = [list(table.objects.order_by("pk").values()) for table in tables]
    for status in STATUSES:
        report(post, status)
    assert state_of(message) == MessageState.DELIVERED
    assert [list(table.objects.order_by("pk").values()) for table in tables] == before


def test_unmatched_receipts_are_dropped_after_thirty_days(sent, report):
    _, post = sent()
    report(post)
    ages = {"old": 31, "young": 29}
    for name, days in ages.items():
        stranger = Post(form=post.form, message_ids=(name,), connection=1, at=0)
        report(stranger, "accepted", client_ref=None)
        received_at = timezone.now() - dt.timedelta(days=days)
        DeliveryReceipt.objects.filter(gateway_message_id=name).update(received_at=received_at)
    DeliveryReceipt.objects.filter(attempt__isnull=False).update(
        received_at=timezone.now() - dt.timedelta(days=99)
    )
    assert delivery_receipts.drop_orphans(dry_run=True) == 1
    assert delivery_receipts.drop_orphans() == 1
    assert delivery_receipts.drop_orphans() == 0
    assert set(DeliveryReceipt.objects.values_list("gateway_message_id", flat=True)) == {
        "young",
        post.message_ids[0],
    }


def test_a_bug_of_ours_keeps_the_receipt_for_the_next_sweep(sent, report, monkeypatch, caplog):
    """After a 500 Vonage would repeat the receipt for three days, and then drop it."""

    def fails(context):
        raise ZeroDivisionError

    _, post = sent()
    with monkeypatch.context() as broken:
        broken.setattr(delivery_receipts, "decide", fails)
        receipt = report(post, "delivered")
    assert receipt.attempt is None
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert delivery_receipts.process_parked() == 1
    assert OutboundMessage.objects.get().state == MessageState.DELIVERED
