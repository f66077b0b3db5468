"""The mobile network in this process. It accepts texts or not, answers or not, and records every text."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bookings.gateways import OutgoingSMS, PartResult, SendResult, Verdict
from tests.campaigns.states.reference_model import InvariantViolation, require
from tests.network import count_parts

#: Answers of the network. Two give no answer: it accepted the text, or never received it.
ANSWERS = {
    "accepted": Verdict.ACCEPTED,
    "answer lost": Verdict.UNKNOWN,
    "never came": Verdict.UNKNOWN,
    "partial": Verdict.PARTIAL,
    "refused": Verdict.REFUSED,
    "throttled": Verdict.THROTTLED,
    "account": Verdict.ACCOUNT,
    "provider error": Verdict.PROVIDER_ERROR,
    "not sent": Verdict.NOT_SENT,
}
TAKEN = {"accepted", "answer lost", "partial"}
NEVER_LEFT = {"refused", "throttled", "account", "provider error", "not sent"}

#: States of a part in rising order. A text is delivered if all its parts are.
RANK = [
    "sending",
    "unknown",
    "submitted",
    "accepted",
    "buffered",
    "expired",
    "rejected",
    "failed",
    "delivered",
]
LOST = {"expired", "rejected", "failed"}


class SenderKilled(BaseException):
    """Raised where the sender is killed."""


@dataclass(kw_only=True)
class AcceptedText:
    """A text that the network accepted."""

    sms: OutgoingSMS
    parts: list[str]
    is_answered: bool = False  # the sender stored the answer
    is_partial: bool = False
    receipts: dict[str, set[str]] = field(default_factory=dict)  # by part
    parked: set[tuple[str, str, bool]] = field(
        default_factory=set
    )  # (part, status, opts out): not assigned yet

    def state(self) -> str | None:
        """Return the state of this attempt from its answer and receipts in any order, None if nothing is known."""
        known = dict.fromkeys(self.parts, "submitted") if self.is_answered else {}
        for part, statuses in self.receipts.items():
            known[part] = max("submitted", *statuses, key=RANK.index)
        if self.is_partial or not known:
            return "failed" if self.is_partial and self.is_answered else None
        slowest = min(known.values(), key=RANK.index)
        lost = [status for statuses in self.receipts.values() for status in statuses & LOST]
        return (
            slowest
            if slowest == "delivered"
            else max(slowest, *lost, key=RANK.index)
            if lost
            else slowest
        )


@dataclass
class SimulatedNetwork:
    """Implements SMSGateway. Calls `begins` before the first byte of a text and `took` after the last."""

    begins: Callable[[OutgoingSMS], None]
    took: Callable[[OutgoingSMS], None]
    name: str = "vonage"
    answer: str = "accepted"
    dies: str = ""  # where the sender is killed: before or after the call
    broken: InvariantViolation | None = None
    accepted_texts: dict[str, AcceptedText] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)  # attempts that may have left, by message

    def send(self, sms: OutgoingSMS) -> SendResult:
        """Send a text. A violation kills the sender, which would take any other exception for a gateway's fault."""
        try:
            self.begins(sms)
            return self.transmit(sms)
        except InvariantViolation as broken:
            self.broken = broken
            raise SenderKilled from broken

    def transmit(self, sms: OutgoingSMS) -> SendResult:
        """Accept or refuse the text and return the answer, or raise SenderKilled."""
        if self.dies == "before":
            raise SenderKilled
        if self.answer in TAKEN:
            self._take(sms)
        if self.dies == "after":
            raise SenderKilled
        parts = (
            self.accepted_texts[sms.client_ref].parts
            if self.answer in {"accepted", "partial"}
            else []
        )
        taken = parts[:1] if self.answer == "partial" else parts
        results = tuple(PartResult(message_id=part, status="0", price="0.0333") for part in taken)
        return SendResult(verdict=ANSWERS[self.answer], reason=self.answer, parts=results)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _take(self, sms: OutgoingSMS) -> None:
        require(sms.client_ref not in self.accepted_texts, f"I4: two POSTs of {sms.client_ref}")
        kind = "unicode" if sms.is_unicode else "text"
        parts = [
            f"{sms.client_ref}.{n}" for n in range(count_parts({"text": sms.text, "type": kind}))
        ]
        self.accepted_texts[sms.client_ref] = AcceptedText(
            sms=sms, parts=parts, is_partial=self.answer == "partial"
        )
        self.tries[sms.client_ref.rpartition("-")[0]] += 1
        self.took(sms)
