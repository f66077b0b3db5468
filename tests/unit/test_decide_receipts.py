"""Decisions on delivery receipts: pure functions of the receipt and its message's history."""

from dataclasses import replace

import pytest

from bookings.gateways import Verdict
from bookings.models import MessageState as S
from bookings.outbox.delivery_receipts import AttemptFacts, ReceiptContext, decide

ATTEMPT = AttemptFacts(pk=7, verdict=Verdict.ACCEPTED, parts=("A", "B"), receipts=())
CONTEXT = ReceiptContext(
    status="delivered",
    err_code="0",
    attempt=7,
    attempts=(ATTEMPT,),
    message=1,
    state=S.SUBMITTED,
    reason="",
    msisdn="447700900123",
)
TAKEN = "The gateway's answer was lost."
WHY = "This number is no longer in use. Ask the customer for another."
CONTRADICTED = "Receipts contradict each other: delivered and not delivered. Ask the customer."


def context(*receipts: tuple[str, str], err_code: str = "0", **changes: object) -> ReceiptContext:
    """Return the context of the last of these receipts, each given as a part's id and a status."""
    attempt = replace(ATTEMPT, receipts=receipts)
    values = {"status": receipts[-1][1], "err_code": err_code, "attempts": (attempt,)}
    return replace(CONTEXT, **values, **changes)  # type: ignore[arg-type]  # values of many types


DECISIONS = {
    "one part of two": (context(("A", "delivered")), S.SUBMITTED, ""),
    "both parts": (context(("A", "delivered"), ("B", "delivered")), S.DELIVERED, ""),
    "one part lost": (context(("A", "failed"), err_code="3"), S.FAILED, WHY),
    "lost for no known reason": (
        context(("A", "rejected"), err_code=""),
        S.REJECTED,
        "Not delivered (carrier error code missing).",
    ),
    "a late word after the loss": (
        context(("A", "failed"), ("B", "accepted"), reason=WHY),
        S.FAILED,
        WHY,
    ),
    "delivered after all": (
        context(("A", "failed"), ("A", "delivered"), ("B", "delivered"), reason=WHY),
        S.DELIVERED,
        CONTRADICTED,
    ),
    "lost after all": (
        context(("A", "delivered"), ("B", "delivered"), ("B", "failed"), state=S.DELIVERED),
        S.DELIVERED,
        CONTRADICTED,
    ),
    "no loss any more": (context(("A", "accepted"), reason=TAKEN), S.SUBMITTED, ""),
    "a status that says nothing": (context(("A", "unknown")), S.SUBMITTED, ""),
}


@pytest.mark.parametrize(("facts", "state", "reason"), DECISIONS.values(), ids=DECISIONS)
def test_a_receipt_moves_its_attempt_and_its_message(facts, state, reason):
    decision = decide(facts)
    assert (decision.state, decision.reason) == (state, reason)
    assert decision.states == {7: state}


@pytest.mark.parametrize(
    ("status", "err_code", "opts_out"),
    [("rejected", "9", True), ("delivered", "9", False), ("rejected", "8", False)],
)
def test_only_a_loss_with_code_9_opts_out(status, err_code, opts_out):
    assert decide(context(("A", status), err_code=err_code)).opts_out is opts_out


def test_a_message_is_delivered_if_any_attempt_is():
    second = replace(ATTEMPT, pk=8, verdict=Verdict.UNKNOWN, parts=())
    delivered = replace(ATTEMPT, receipts=(("A", "delivered"), ("B", "delivered")))
    decision = decide(replace(CONTEXT, attempts=(delivered, second), state=S.UNKNOWN))
    assert decision.states == {7: S.DELIVERED, 8: S.UNKNOWN}
    assert decision.state == S.DELIVERED
