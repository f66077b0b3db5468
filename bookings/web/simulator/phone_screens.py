"""The screens of the simulated phones: texts delivered to them and texts typed on them."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, Max, QuerySet, When

from bookings.gateways import Verdict
from bookings.models import Booking, InboundMessage, MessageState, OutboundMessage, SendAttempt
from bookings.models.fields import E164_PATTERN
from bookings.models.message_states import LOST

PHONES_SHOWN = 200
BUBBLES_SHOWN = 100
_HANDED_OVER = (Verdict.ACCEPTED, Verdict.PARTIAL, Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubble:
    """One text on a phone's screen."""

    text: str
    at: dt.datetime
    is_ours: bool
    ticks: str  # "delivered", "sent", or "lost": it never reached this phone
    sender: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestText:
    """One phone in the list of phones."""

    msisdn: str
    name: str
    text: str
    at: dt.datetime


def thread(msisdn: str) -> list[Bubble]:
    """Return the texts on a phone, oldest first. A text that was sent twice is shown twice."""
    bubbles = [*_ours(msisdn), *_theirs(msisdn)]
    return sorted(bubbles, key=lambda bubble: bubble.at)[-BUBBLES_SHOWN:]


def _ours(msisdn: str) -> Iterator[Bubble]:
    handed_over = SendAttempt.objects.filter(
        message__msisdn=msisdn,
        message__gateway="simulator",
        verdict__in=_HANDED_OVER,
    )
    for attempt in handed_over.select_related("message").order_by("-pk")[:BUBBLES_SHOWN]:
        state = MessageState(attempt.state)
        ticks = "lost" if state in LOST else "sent"
        yield Bubble(
            text=attempt.message.text,
            at=attempt.call_started_at,
            is_ours=True,
            ticks="delivered" if state == MessageState.DELIVERED else ticks,
            sender=attempt.message.sender,
        )


def _theirs(msisdn: str) -> Iterator[Bubble]:
    for inbound in _typed().filter(msisdn=msisdn)[:BUBBLES_SHOWN]:
        yield Bubble(text=inbound.said, at=inbound.received_at, is_ours=False, ticks="delivered")


def _typed() -> QuerySet[InboundMessage]:
    """Return the customer's texts as typed: a long text that came in parts is one text once it is complete."""
    return InboundMessage.objects.filter(joined_in=None)


def latest_texts() -> list[LatestText]:
    """Return the phones that have texts, latest first, each with its last text and its customer's name."""
    sent = OutboundMessage.objects.filter(gateway="simulator", call_started_at__isnull=False)
    came = _typed().filter(msisdn__regex=E164_PATTERN)
    said = Case(When(whole="", then="text"), default="whole")
    texts = [
        *_last_of_each(sent, "call_started_at", F("text")),
        *_last_of_each(came, "received_at", said),
    ]
    latest = {msisdn: (at, text) for at, msisdn, text in sorted(texts)}
    newest = sorted(latest, key=lambda msisdn: latest[msisdn], reverse=True)[:PHONES_SHOWN]
    bookings = Booking.objects.filter(msisdn__in=newest).order_by("pk")
    names = dict(bookings.values_list("msisdn", "customer_name"))
    return [
        LatestText(msisdn=msisdn, name=names.get(msisdn, ""), at=at, text=text)
        for msisdn in newest
        for at, text in [latest[msisdn]]
    ]


def _last_of_each(
    messages: QuerySet[OutboundMessage] | QuerySet[InboundMessage], moment: str, words: F | Case
) -> QuerySet[Any, tuple[dt.datetime, str, str]]:
    last = messages.values("msisdn").annotate(last=Max("pk")).order_by().values("last")
    return messages.filter(pk__in=last).values_list(moment, "msisdn", words)
