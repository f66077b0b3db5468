"""The state that the product must be in, computed from its promises in plain Python and without its code."""

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from tests.campaigns.states.sms_reader import SentNotification, SlotKey

#: The meaning of a customer's text: a digit, opt-out, opt-in, or none.
Meaning: TypeAlias = int | Literal["out", "in"] | None
Move: TypeAlias = "tuple[str, SlotKey] | None"

REST = dt.timedelta(hours=12)
LEAST_TIME_TO_ANSWER = dt.timedelta(minutes=30)


class InvariantViolation(Exception):
    """A promise does not hold. Messages begin with the number of the invariant where it has one."""


def require(holds: object, otherwise: str) -> None:
    """Raise InvariantViolation with this message unless it holds."""
    if not holds:
        raise InvariantViolation(otherwise)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A booking as it must be stored."""

    msisdn: str
    slot: SlotKey
    is_cancelled: bool = False


@dataclass
class ReferenceModel:
    """Deliveries, notifications and consent as they must be now."""

    deliveries: dict[str, Delivery] = field(default_factory=dict)
    capacity: dict[SlotKey, int | None] = field(default_factory=dict)
    notifications: dict[str, SentNotification] = field(
        default_factory=dict
    )  # by the ref of the message
    opted_out: dict[str, str] = field(default_factory=dict)  # msisdn: by `sms` or by `receipt`
    known: set[str] = field(default_factory=set)  # keys of requests that got a 200
    pieces: dict[str, dict[int, dt.datetime]] = field(
        default_factory=dict
    )  # of long texts: number and time of each part

    def change(self, reference: str, now: dt.datetime, **fields: Any) -> None:
        """Change a delivery as staff did, which withdraws its notifications."""
        self.deliveries[reference] = replace(self.deliveries[reference], **fields)
        self.withdraw(reference, now)

    def withdraw(self, reference: str, now: dt.datetime) -> None:
        """End the open notifications of a delivery."""
        for notification in self.notifications.values():
            if notification.reference == reference and notification.ended_at is None:
                notification.ended_at = min(now, notification.until)

    def load(self, slot: SlotKey) -> int:
        """Return how many deliveries must be in this slot."""
        return sum(d.slot == slot and not d.is_cancelled for d in self.deliveries.values())

    def of_phone(self, msisdn: str) -> list[SentNotification]:
        """Return the notifications that this phone may have received, the latest first."""
        asked = [q for q in self.notifications.values() if q.msisdn == msisdn and q.calls]
        return sorted(asked, key=lambda notification: notification.asked_at, reverse=True)

    def possible_moves(self, msisdn: str, digit: int, now: dt.datetime) -> list[Move]:
        """Return the moves that a digit may cause: the latest notification with this digit decides.

        There is a choice only if a text was on its way when its sender died: it is unknown whether it was read.
        """
        moves: list[Move] = []
        for notification in self.of_phone(msisdn):
            if digit in notification.options:
                moves.append(self._move(notification, digit, now))
                if notification.is_doubtful:
                    moves.append(None)
                if notification.was_taken:
                    return moves
        return [*moves, None]

    def _move(self, notification: SentNotification, digit: int, now: dt.datetime) -> Move:
        delivery, wanted = self.deliveries[notification.reference], notification.options[digit]
        is_late = now >= min(delivery.slot.cutoff, wanted.cutoff)
        if (
            delivery.is_cancelled
            or is_late
            or not notification.is_open(now)
            or wanted == delivery.slot
        ):
            return None
        capacity = self.capacity[wanted]
        has_room = capacity is None or self.load(wanted) < capacity
        return (notification.reference, wanted) if has_room else None

    def is_answered(self, msisdn: str, digit: int, now: dt.datetime) -> None:
        """Note that the customer answered the latest notification with this digit."""
        printed = [q for q in self.of_phone(msisdn) if digit in q.options]
        if printed and printed[0].was_taken:
            printed[0].answered_at = now

    def move(self, move: Move) -> None:
        """Move a delivery; None moves nothing."""
        if move is not None:
            reference, slot = move
            self.deliveries[reference] = replace(self.deliveries[reference], slot=slot)

    def check_digits(self, message: str, asked: SentNotification) -> None:
        """Require that no digit of a new notification has another meaning, or had one in the last 12 hours."""
        for other, notification in self.notifications.items():
            ended = notification.until if notification.ended_at is None else notification.ended_at
            if (
                other == message
                or notification.msisdn != asked.msisdn
                or not notification.was_taken
            ):
                continue
            is_free = ended <= asked.asked_at - REST or notification.options.keys().isdisjoint(
                asked.options
            )
            require(
                is_free, f"one meaning: {sorted(asked.options)} are printed twice for a customer"
            )

    def check_offers(
        self, msisdn: str, offers: list[tuple[str, set[int]]], now: dt.datetime
    ) -> None:
        """Require that options which a text offers again can be chosen."""
        for reference, digits in offers:
            fitting = [
                notification
                for notification in self.of_phone(msisdn)
                if notification.reference == reference and digits <= notification.options.keys()
            ]
            is_true = any(q.is_open(now) or q.is_doubtful for q in fitting)
            require(
                is_true, f"true when sent: {sorted(digits)} are offered for {reference}, closed"
            )

    def check_told(self, told: tuple[str, SlotKey | None]) -> None:
        """Require that a text names the slot in which its delivery is."""
        reference, slot = told
        delivery = self.deliveries[reference]
        truth = None if delivery.is_cancelled else delivery.slot
        require(slot == truth, f"I3: the text says {slot}, {reference} is in {truth}")

    def check_reminder(
        self,
        msisdn: str,
        told: tuple[str, SlotKey, set[int]],
        claimed_at: dt.datetime,
        now: dt.datetime,
    ) -> None:
        """Require that a reminder repeats an open, unanswered notification about an unchanged delivery."""
        reference, slot, digits = told
        self.check_told((reference, slot))
        self.check_offers(msisdn, [(reference, digits)], now)
        asked = [q for q in self.of_phone(msisdn) if q.reference == reference and q.booked == slot]
        require(asked, f"true when sent: nobody was asked about {reference} in {slot}")
        answered_at = next((q.answered_at for q in asked if digits <= q.options.keys()), None)
        is_silent = answered_at is None or answered_at >= claimed_at
        require(is_silent, f"a customer who has answered about {reference} is reminded")

    def piece_came(self, text: str, number: int, total: int, now: dt.datetime) -> bool:
        """Note a part of a long text; returns True if it completes the text within ten minutes."""
        came = self.pieces.setdefault(text, {})
        came.setdefault(number, now)
        took = max(came.values()) - min(came.values())
        return len(came) == total and took <= dt.timedelta(minutes=10)
