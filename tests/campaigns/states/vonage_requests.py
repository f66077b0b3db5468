"""Webhook requests of Vonage, and the effect that each must have with its first 200."""

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.campaigns.states.invariant_checks import DatabaseSnapshot
from tests.campaigns.states.reference_model import Meaning
from tests.campaigns.states.simulated_network import LOST, AcceptedText

if TYPE_CHECKING:
    from tests.campaigns.states.simulation import Simulation


@dataclass(frozen=True, kw_only=True)
class WebhookRequest:
    """A signed request, which can be posted again at any time."""

    key: str
    path: str
    fields: dict[str, str] = field(repr=False)
    secret: str = field(repr=False)
    sent_at: dt.datetime
    good_for: dt.timedelta

    def is_fresh(self, now: dt.datetime) -> bool:
        """Return True if the signature's time is still accepted."""
        return -dt.timedelta(minutes=5) <= now - self.sent_at <= self.good_for

    def apply_to_model(self, simulation: "Simulation") -> None:
        """Apply the effect that this request must have to the reference model."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ReplyRequest(WebhookRequest):
    """A customer's text, or a part of a long one (`piece`: its number and the number of parts)."""

    msisdn: str
    meaning: Meaning
    text_key: str = ""
    piece: tuple[int, int] | None = None
    path: str = "inbound-sms"
    good_for: dt.timedelta = dt.timedelta(hours=25)

    def apply_to_model(self, simulation: "Simulation") -> None:
        """Apply the effect that this request must have to the reference model."""
        model = simulation.model
        if self.piece and not model.piece_came(self.text_key, *self.piece, simulation.now):
            return
        match self.meaning:
            case "out":
                model.opted_out.setdefault(self.msisdn, "sms")
                model.opted_out[self.msisdn] = "sms"
            case "in":
                model.opted_out.pop(self.msisdn, None)
            case int(digit):
                model.is_answered(self.msisdn, digit, simulation.now)
                moves = model.possible_moves(self.msisdn, digit, simulation.now)
                places = DatabaseSnapshot.places()
                seen = [move for move in moves if move and places[move[0]] == move[1]]
                simulation.move(seen[0] if seen else None if None in moves else moves[0])


@dataclass(frozen=True, kw_only=True)
class ReceiptRequest(WebhookRequest):
    """A delivery receipt for one part of a text."""

    post: AcceptedText
    part: str
    status: str
    opts_out: bool = False
    names_ref: bool = True
    path: str = "delivery-receipt"
    good_for: dt.timedelta = dt.timedelta(hours=73)

    def apply_to_model(self, simulation: "Simulation") -> None:
        """Apply the effect that this request must have to the reference model."""
        opts_out = self.opts_out and self.status in LOST
        if self.names_ref or self.post.is_answered:
            simulation.record_receipt(self.post, self.part, self.status, opts_out=opts_out)
        else:
            self.post.parked.add((self.part, self.status, opts_out))
