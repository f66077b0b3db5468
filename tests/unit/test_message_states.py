"""The state of a message: a pure function of stored rows, independent of the order of events."""

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookings.gateways import Verdict
from bookings.models.message_states import RANK, MessageState, attempt_state, message_state

S = MessageState
STATUSES = ("accepted", "buffered", "delivered", "expired", "failed", "rejected", "unknown", "new")
RECEIPTS = tuple(product(("A", "B"), STATUSES))


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        ("", S.SENDING),
        (Verdict.ACCEPTED, S.SUBMITTED),
        (Verdict.UNKNOWN, S.UNKNOWN),
        (Verdict.REFUSED, S.FAILED),
        (Verdict.PARTIAL, S.FAILED),
        (Verdict.NOT_SENT, S.QUEUED),
        (Verdict.THROTTLED, S.QUEUED),
        (Verdict.ACCOUNT, S.QUEUED),
        (Verdict.PROVIDER_ERROR, S.QUEUED),
    ],
)
def test_without_receipts_an_attempt_stands_where_the_answer_put_it(verdict, state):
    assert attempt_state(verdict, ["A"] if verdict == Verdict.ACCEPTED else [], []) == state


@pytest.mark.parametrize(
    ("receipts", "state"),
    [
        ([], S.SUBMITTED),
        ([("A", "accepted")], S.SUBMITTED),
        ([("A", "accepted"), ("B", "buffered")], S.ACCEPTED),
        ([("A", "delivered")], S.SUBMITTED),
        ([("A", "delivered"), ("B", "accepted")], S.ACCEPTED),
        ([("A", "delivered"), ("B", "delivered")], S.DELIVERED),
        ([("A", "delivered"), ("B", "expired")], S.EXPIRED),
        ([("A", "rejected"), ("B", "failed")], S.FAILED),
        ([("A", "failed"), ("A", "delivered")], S.FAILED),
        ([("A", "failed"), ("A", "delivered"), ("B", "delivered")], S.DELIVERED),
        ([("A", "unknown"), ("B", "something new")], S.SUBMITTED),
    ],
    ids=lambda value: " ".join(f"{a}:{b}" for a, b in value) if isinstance(value, list) else value,
)
def test_two_parts_are_delivered_if_both_are_and_failed_if_one_is(receipts, state):
    assert attempt_state(Verdict.ACCEPTED, ["A", "B"], receipts) == state


@pytest.mark.parametrize("verdict", ["", Verdict.UNKNOWN, Verdict.PROVIDER_ERROR])
def test_without_an_answer_the_parts_are_those_that_receipts_named(verdict):
    assert attempt_state(verdict, [], [("A", "delivered")]) == S.DELIVERED
    assert attempt_state(verdict, [], [("A", "delivered"), ("B", "buffered")]) == S.BUFFERED
    assert attempt_state(verdict, [], [("A", "unknown")]) == S.SUBMITTED


def test_partial_text_stays_failed_after_any_receipt():
    assert attempt_state(Verdict.PARTIAL, ["A"], [("A", "delivered")]) == S.FAILED


def test_a_refusal_is_taken_back_by_delivery_alone():
    assert attempt_state(Verdict.REFUSED, [], [("A", "buffered")]) == S.FAILED
    assert attempt_state(Verdict.REFUSED, [], [("A", "delivered")]) == S.DELIVERED


@given(st.lists(st.sampled_from(RECEIPTS), max_size=5), st.sampled_from(["", *Verdict]))
def test_every_order_of_up_to_five_receipts_ends_the_same(receipts, verdict):
    parts = ["A", "B"] if verdict == Verdict.ACCEPTED else []
    ends = {attempt_state(verdict, parts, order) for order in permutations(receipts)}
    assert len(ends) == 1
    assert ends == {attempt_state(verdict, parts, [*receipts, *receipts])}


@given(st.lists(st.sampled_from(RECEIPTS), max_size=6))
def test_no_receipt_ever_brings_an_attempt_back(receipts):
    states = [
        attempt_state(Verdict.ACCEPTED, ["A", "B"], receipts[:count])
        for count in range(len(receipts) + 1)
    ]
    assert states == sorted(states, key=RANK.__getitem__)


@pytest.mark.parametrize(
    ("now", "attempts", "state"),
    [
        (S.QUEUED, [], S.QUEUED),
        (S.CANCELLED, [], S.CANCELLED),
        (S.SENDING, [S.SENDING], S.SENDING),
        (S.SENDING, [S.UNKNOWN], S.UNKNOWN),
        (S.SENDING, [S.FAILED], S.FAILED),
        (S.QUEUED, [S.QUEUED], S.QUEUED),
        (S.FAILED, [S.QUEUED, S.QUEUED], S.FAILED),
        (S.QUEUED, [S.UNKNOWN], S.QUEUED),
        (S.QUEUED, [S.UNKNOWN, S.QUEUED], S.QUEUED),
        (S.QUEUED, [S.ACCEPTED], S.ACCEPTED),
        (S.QUEUED, [S.ACCEPTED, S.QUEUED], S.ACCEPTED),
        (S.QUEUED, [S.DELIVERED], S.DELIVERED),
        (S.CANCELLED, [S.UNKNOWN], S.CANCELLED),
        (S.CANCELLED, [S.SUBMITTED], S.SUBMITTED),
        (S.FAILED, [S.QUEUED, S.DELIVERED], S.DELIVERED),
        (S.SENDING, [S.DELIVERED, S.SENDING], S.DELIVERED),
        (S.SENDING, [S.ACCEPTED, S.SENDING], S.SENDING),
        (S.SENDING, [S.ACCEPTED, S.FAILED], S.FAILED),
        (S.FAILED, [S.DELIVERED, S.FAILED], S.DELIVERED),
    ],
    ids=lambda value: "+".join(value) or "none" if isinstance(value, list) else value,
)
def test_a_message_has_the_state_of_its_latest_attempt_or_was_delivered_by_any(
    now, attempts, state
):
    assert message_state(now, attempts) == state


@pytest.mark.parametrize(
    ("known", "named", "state"),
    [
        (["A"], "", S.DELIVERED),
        (["A"], "B", S.DELIVERED),
        ([], "", S.DELIVERED),
        (["A", "B"], "", S.SUBMITTED),
        (["A", "B"], "A", S.SUBMITTED),
    ],
    ids=[
        "no id, one part",
        "other id, one part",
        "no id, no answer",
        "no id, two parts",
        "one of two",
    ],
)
def test_a_receipt_without_a_part_that_we_know_is_about_the_only_one(known, named, state):
    verdict = "accepted" if known else ""
    assert attempt_state(verdict, known, [(named, "delivered")]) == state
