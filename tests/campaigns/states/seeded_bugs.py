"""Bugs that are patched into the product to show that the campaign finds them."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from django.db.models import Q
from django.db.models.functions import Now

from bookings import outbox
from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.dispatch import ticket_actions
from bookings.dispatch.imports.changes import Comparison, compare
from bookings.dispatch.imports.rows import Row
from bookings.gateways import InboundSMS
from bookings.models import (
    Booking,
    Kind,
    MessageState,
    OutboundMessage,
    SendAttempt,
    message_states,
    outbound,
)
from bookings.models.batches import BatchEntryQuerySet, BatchQuerySet
from bookings.models.inbound import InboundMessage, InboundMessageQuerySet
from bookings.models.outbound import OutboundMessageQuerySet
from bookings.notifications import reminders
from bookings.outbox import claiming, sending
from bookings.replies import context, rule
from bookings.replies.parser import Choice, NotUnderstood
from bookings.scheduling import capacity, digits
from bookings.web.webhooks import authentication

Bug = Callable[[], AbstractContextManager[Any]]


def _copies_are_new_messages() -> AbstractContextManager[Any]:
    stored = InboundMessageQuerySet.store

    def store(self: InboundMessageQuerySet, sms: InboundSMS) -> InboundMessage | None:
        for copies in range(9):
            number = f"{sms.gateway_message_id}{'+' * copies}"
            if not self.filter(gateway_message_id=number).exists():
                renamed = InboundSMS(
                    **{f: getattr(sms, f) for f in sms.__slots__} | {"gateway_message_id": number}
                )
                return stored(self, renamed)
        return None

    return patch.object(InboundMessageQuerySet, "store", store)


def _copies_have_effect() -> AbstractContextManager[Any]:
    stored = InboundMessageQuerySet.store

    def store(self: InboundMessageQuerySet, sms: InboundSMS) -> InboundMessage | None:
        return stored(self, sms) or self.get(gateway_message_id=sms.gateway_message_id)

    return patch.object(InboundMessageQuerySet, "store", store)


def _any_receipt_decides() -> AbstractContextManager[Any]:
    merged = message_states.attempt_state

    def attempt_state(
        verdict: str, parts: list[str], receipts: list[tuple[str, str]]
    ) -> MessageState:
        return merged(verdict, parts, sorted(receipts)[:1] if receipts else [])

    return patch.object(message_states, "attempt_state", attempt_state)


def _first_digit_is_choice() -> AbstractContextManager[Any]:
    def parse_reply(text: str, language: str) -> object:
        digit = re.search("[1-9]", text)
        return Choice(int(digit[0])) if digit else NotUnderstood("no digit")

    return patch.object(context, "parse_reply", parse_reply)


def _lost_claims_start_calls() -> AbstractContextManager[Any]:
    start_call = sending.start_call

    def start_anyway(message: OutboundMessage) -> SendAttempt | None:
        claimed = {"state": MessageState.SENDING, "token": message.token, "call_started_at": None}
        ours = OutboundMessage.objects.filter(pk=message.pk)
        ours.update(lease_until=Now() + claiming.LEASE, **claimed)
        return start_call(message)

    return patch.object(sending, "start_call", start_anyway)


def _old_texts_are_sent() -> AbstractContextManager[Any]:
    return patch.object(OutboundMessageQuerySet, "cancel", lambda self, because, **how: 0)


def _digits_are_reused() -> AbstractContextManager[Any]:
    return patch.object(digits, "resting", lambda msisdn, now: Q(pk__in=[]))


def _closed_notifications_are_answered() -> AbstractContextManager[Any]:
    return patch.object(context, "standing_of", lambda option, now: context.Standing.OPEN)


def _answers_are_queued_twice() -> AbstractContextManager[Any]:
    queue = outbox.queue

    def twice(*told: Any, key: str, **more: Any) -> OutboundMessage:
        if key.startswith("reply:"):
            queue(*told, key=f"{key}:again", **more)
        return queue(*told, key=key, **more)

    return patch.object(outbox, "queue", twice)


def _rows_are_always_new() -> AbstractContextManager[Any]:
    def anew(row: Row, booking: Booking, cause: str | None) -> Comparison:
        booking.imported = booking.imported and {}
        return compare(row, booking, cause)

    return patch("bookings.dispatch.imports.importing.compare", anew)


def _answers_belong_to_batch() -> AbstractContextManager[Any]:
    def is_of(batches: Any) -> Q:
        return Q(notification__batch_entry__batch__in=batches)

    return patch.object(outbound, "_is_of", is_of)


@dataclass(frozen=True)
class SeededBug:
    """A bug, and the rules that the search for it draws from. A rule named twice is drawn twice as often."""

    bug: Bug
    rules: str


def _replaced(target: object, name: str, value: object, rules: str) -> SeededBug:
    return SeededBug(lambda: patch.object(target, name, value), rules)


_NOTIFYING = "notify send_texts"
_BATCH = "book start_batch ask_waiting_customers change_batch"
_EVERYTHING_ALLOWED = tuple(Kind)

#: The first so many bugs are found by a random search within a few hundred steps; others take a thousand or more.
QUICK = 11

#: By the fault that each causes.
BUGS: dict[str, SeededBug] = {
    "a copy is a new message": SeededBug(_copies_are_new_messages, "reply redeliver"),
    "a copy acts again": SeededBug(_copies_have_effect, "reply redeliver"),
    "any receipt, not the highest, decides": SeededBug(_any_receipt_decides, "deliver_receipt"),
    "the first digit of any text is a choice": SeededBug(
        _first_digit_is_choice, "write_unclear_text"
    ),
    "a move leaves old texts in the queue": SeededBug(_old_texts_are_sent, "reply send_texts"),
    "a move by staff does not withdraw the notification": _replaced(
        dispatch, "withdraw", lambda *_: None, "move reply notify send_texts"
    ),
    "a digit in use is printed again": SeededBug(
        _digits_are_reused, f"book change_phone {_NOTIFYING}"
    ),
    "closed notifications are answered": SeededBug(
        _closed_notifications_are_answered, "cancel reply"
    ),
    "capacity is not looked at": _replaced(
        capacity, "has_room", lambda slot, **_: True, "book reply move"
    ),
    "every answer twice": SeededBug(_answers_are_queued_twice, "reply"),
    "old requests are taken": _replaced(
        authentication, "_check_age", lambda fields, max_age: None, "forge redeliver let_time_pass"
    ),
    "a stopped batch sends on": _replaced(
        BatchQuerySet, "stopped", lambda self, now: self.none(), f"{_BATCH} send_texts"
    ),
    "a stopped batch asks on": _replaced(
        BatchEntryQuerySet, "to_ask", BatchEntryQuerySet.waiting, _BATCH
    ),
    "answers stop with their batch": SeededBug(
        _answers_belong_to_batch, "notify_new_deliveries send_texts reply reply change_batch"
    ),
    "two people see to one customer": _replaced(
        ticket_actions,
        "why_not_mine",
        lambda ticket, user: "",
        "write_unclear_text act_on_ticket answer",
    ),
    "a row that says nothing new undoes a choice": SeededBug(
        _rows_are_always_new, "start_import start_same_import_again continue_import move"
    ),
    "a wish by phone leaves texts in the queue": _replaced(
        consent,
        "_cancel_waiting",
        lambda msisdn, is_opted_out: None,
        "notify record_consent_by_phone freeze_sender frozen_sender_continues",
    ),
    "an answer of unknown fate is sent again": _replaced(
        outbound,
        "SENT_AGAIN",
        _EVERYTHING_ALLOWED,
        "reply kill_sender let_time_pass sweep send_texts",
    ),
    "a late sender begins its call all the same": SeededBug(
        _lost_claims_start_calls,
        "reply freeze_sender frozen_sender_continues let_time_pass sweep send_texts",
    ),
    "opt-out is not checked at the claim": _replaced(
        claiming, "DESPITE_OPT_OUT", _EVERYTHING_ALLOWED, "reply deliver_receipt send_texts"
    ),
    "no limit of automatic answers": _replaced(
        rule,
        "MOST_ANSWERS",
        10**6,
        "reply reply reply reply send_texts send_texts let_time_pass",
    ),
    "customers who chose are reminded": _replaced(
        reminders,
        "_is_silent",
        lambda notification: True,
        "notify_new_deliveries send_texts reply reply advance_to_reminder",
    ),
}
