"""What must be so, by the README's words and in plain Python: beside the product, never through its code."""

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from tests.campaigns.states.sms_reader import Question, When

#: What a customer's text means: a digit, out, in, or nothing at all.
Meaning: TypeAlias = int | Literal["out", "in"] | None
Move: TypeAlias = "tuple[str, When] | None"

REST = dt.timedelta(hours=12)
LEAST_TIME_TO_ANSWER = dt.timedelta(minutes=30)


class BrokenPromise(Exception):
    """A promise does not hold. Its words begin with the invariant's number."""


def promise(holds: object, otherwise: str) -> None:
    if not holds:
        raise BrokenPromise(otherwise)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    msisdn: str
    slot: When
    is_cancelled: bool = False


@dataclass
class Model:
    """Deliveries, questions and consent as they must be by now."""

    deliveries: dict[str, Delivery] = field(default_factory=dict)
    capacity: dict[When, int | None] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)  # by the message that put it
    opted_out: dict[str, str] = field(default_factory=dict)  # by an SMS, or by a receipt
    known: set[str] = field(default_factory=set)  # messages and receipts that got a 200
    pieces: dict[str, dict[int, dt.datetime]] = field(default_factory=dict)  # of long texts

    def change(self, reference: str, now: dt.datetime, **fields: Any) -> None:
        """Staff changed a delivery: whatever was asked about it is withdrawn."""
        self.deliveries[reference] = replace(self.deliveries[reference], **fields)
        self.withdraw(reference, now)

    def withdraw(self, reference: str, now: dt.datetime) -> None:
        for question in self.questions.values():
            if question.reference == reference and question.ended_at is None:
                question.ended_at = min(now, question.until)

    def load(self, slot: When) -> int:
        return sum(d.slot == slot and not d.is_cancelled for d in self.deliveries.values())

    def of_phone(self, msisdn: str) -> list[Question]:
        """The questions that this phone can have read, the latest first."""
        asked = [q for q in self.questions.values() if q.msisdn == msisdn and q.calls]
        return sorted(asked, key=lambda question: question.asked_at, reverse=True)

    def possible_moves(self, msisdn: str, digit: int, now: dt.datetime) -> list[Move]:
        """What a digit must do: the latest question that printed it decides.

        There is a choice only if a text was on its way when its sender died: nobody knows whether it was read.
        """
        moves: list[Move] = []
        for question in self.of_phone(msisdn):
            if digit in question.options:
                moves.append(self._move(question, digit, now))
                if question.is_doubtful:
                    moves.append(None)
                if question.was_taken:
                    return moves
        return [*moves, None]

    def _move(self, question: Question, digit: int, now: dt.datetime) -> Move:
        delivery, wanted = self.deliveries[question.reference], question.options[digit]
        is_late = now >= min(delivery.slot.cutoff, wanted.cutoff)
        if delivery.is_cancelled or is_late or not question.is_open(now) or wanted == delivery.slot:
            return None
        capacity = self.capacity[wanted]
        has_room = capacity is None or self.load(wanted) < capacity
        return (question.reference, wanted) if has_room else None

    def is_answered(self, msisdn: str, digit: int, now: dt.datetime) -> None:
        """The customer has written one of the digits of the latest question that printed it."""
        printed = [q for q in self.of_phone(msisdn) if digit in q.options]
        if printed and printed[0].was_taken:
            printed[0].answered_at = now

    def move(self, move: Move) -> None:
        if move is not None:
            reference, slot = move
            self.deliveries[reference] = replace(self.deliveries[reference], slot=slot)

    def check_digits(self, message: str, asked: Question) -> None:
        """No digit that is printed now stands for something else, or did until a short while ago."""
        for other, question in self.questions.items():
            ended = question.until if question.ended_at is None else question.ended_at
            if other == message or question.msisdn != asked.msisdn or not question.was_taken:
                continue
            is_free = ended <= asked.asked_at - REST or question.options.keys().isdisjoint(
                asked.options
            )
            promise(
                is_free, f"one meaning: {sorted(asked.options)} are printed twice for a customer"
            )

    def check_offers(
        self, msisdn: str, offers: list[tuple[str, set[int]]], now: dt.datetime
    ) -> None:
        """What is offered once more can be chosen."""
        for reference, digits in offers:
            fitting = [
                question
                for question in self.of_phone(msisdn)
                if question.reference == reference and digits <= question.options.keys()
            ]
            is_true = any(q.is_open(now) or q.is_doubtful for q in fitting)
            promise(
                is_true, f"true when sent: {sorted(digits)} are offered for {reference}, closed"
            )

    def check_told(self, told: tuple[str, When | None]) -> None:
        reference, slot = told
        delivery = self.deliveries[reference]
        truth = None if delivery.is_cancelled else delivery.slot
        promise(slot == truth, f"I3: the text says {slot}, {reference} is in {truth}")

    def check_reminder(
        self,
        msisdn: str,
        told: tuple[str, When, set[int]],
        claimed_at: dt.datetime,
        now: dt.datetime,
    ) -> None:
        """It repeats a question that is open and not answered, about a delivery that stands where it stood."""
        reference, slot, digits = told
        self.check_told((reference, slot))
        self.check_offers(msisdn, [(reference, digits)], now)
        asked = [q for q in self.of_phone(msisdn) if q.reference == reference and q.booked == slot]
        promise(asked, f"true when sent: nobody was asked about {reference} in {slot}")
        answered_at = next((q.answered_at for q in asked if digits <= q.options.keys()), None)
        is_silent = answered_at is None or answered_at >= claimed_at
        promise(is_silent, f"whoever has answered about {reference} is reminded")

    def piece_came(self, text: str, number: int, total: int, now: dt.datetime) -> bool:
        """Whether this piece makes a long text whole: all within ten minutes, and once."""
        came = self.pieces.setdefault(text, {})
        came.setdefault(number, now)
        took = max(came.values()) - min(came.values())
        return len(came) == total and took <= dt.timedelta(minutes=10)
