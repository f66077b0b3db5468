"""Bugs that we put into the product, to see whether the campaign has open eyes. Each is patched in from outside."""

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
from bookings.dispatch.imports.known import Known, compare
from bookings.dispatch.imports.rows import Row
from bookings.gateways import InboundSMS
from bookings.models import (
    Booking,
    Kind,
    MessageState,
    OutboundMessage,
    SendAttempt,
    Slot,
    message_states,
    outbound,
)
from bookings.models.batches import BatchEntryQuerySet, BatchQuerySet
from bookings.models.inbound import InboundMessage, InboundMessageQuerySet
from bookings.models.outbound import OutboundMessageQuerySet
from bookings.notifications import reminders
from bookings.outbox import claiming, sending
from bookings.replies import context, service
from bookings.replies.parser import Choice, NotUnderstood
from bookings.scheduling import offers
from bookings.web.webhooks import authentication

Bug = Callable[[], AbstractContextManager[Any]]


def _every_copy_is_new() -> AbstractContextManager[Any]:
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


def _a_copy_acts_again() -> AbstractContextManager[Any]:
    stored = InboundMessageQuerySet.store

    def store(self: InboundMessageQuerySet, sms: InboundSMS) -> InboundMessage | None:
        return stored(self, sms) or self.get(gateway_message_id=sms.gateway_message_id)

    return patch.object(InboundMessageQuerySet, "store", store)


def _the_last_receipt_wins() -> AbstractContextManager[Any]:
    merged = message_states.attempt_state

    def attempt_state(
        verdict: str, parts: list[str], receipts: list[tuple[str, str]]
    ) -> MessageState:
        return merged(verdict, parts, sorted(receipts)[:1] if receipts else [])

    return patch.object(message_states, "attempt_state", attempt_state)


def _what_is_unknown_is_sent_again() -> AbstractContextManager[Any]:
    return patch.object(outbound, "SENT_AGAIN", tuple(Kind))


def _the_first_digit_counts() -> AbstractContextManager[Any]:
    def parse_reply(text: str, language: str) -> object:
        digit = re.search("[1-9]", text)
        return Choice(int(digit[0])) if digit else NotUnderstood("no digit")

    return patch.object(service, "parse_reply", parse_reply)


def _no_fence() -> AbstractContextManager[Any]:
    start_call = sending.start_call

    def start_anyway(message: OutboundMessage) -> SendAttempt | None:
        claimed = {"state": MessageState.SENDING, "token": message.token, "call_started_at": None}
        ours = OutboundMessage.objects.filter(pk=message.pk)
        ours.update(lease_until=Now() + claiming.LEASE, **claimed)
        return start_call(message)

    return patch.object(sending, "start_call", start_anyway)


def _the_old_truth_goes_out() -> AbstractContextManager[Any]:
    return patch.object(OutboundMessageQuerySet, "cancel", lambda self, because: 0)


def _an_open_digit_is_printed_again() -> AbstractContextManager[Any]:
    return patch.object(offers, "resting", lambda msisdn, now: Q(pk__in=[]))


def _closed_notifications_are_answered() -> AbstractContextManager[Any]:
    return patch.object(context, "_standing", lambda option, now: context.Standing.OPEN)


def _every_answer_twice() -> AbstractContextManager[Any]:
    queue = outbox.queue

    def twice(*told: Any, key: str, **more: Any) -> OutboundMessage:
        if key.startswith("reply:"):
            queue(*told, key=f"{key}:again", **more)
        return queue(*told, key=key, **more)

    return patch.object(outbox, "queue", twice)


def _a_row_is_always_news() -> AbstractContextManager[Any]:
    def anew(row: Row, booking: Booking, cause: str | None) -> Known:
        booking.imported = booking.imported and {}
        return compare(row, booking, cause)

    return patch("bookings.dispatch.imports.importing.compare", anew)


def _an_answer_is_a_text_of_the_batch() -> AbstractContextManager[Any]:
    def is_of(batches: Any) -> Q:
        return Q(notification__batch_entry__batch__in=batches)

    return patch.object(outbound, "_is_of", is_of)


@dataclass(frozen=True)
class SeededBug:
    """A bug, and the rules of the machine that can show it. A rule named twice is drawn twice as often."""

    bug: Bug
    rules: str


def _replaced(target: object, name: str, value: object, rules: str) -> SeededBug:
    return SeededBug(lambda: patch.object(target, name, value), rules)


_ASKING = "ask texts_go_out"
_BATCH = "book start_batch senders_ask turn_batch"
_EVERYTHING_ALLOWED = tuple(Kind)

#: The first so many of them are found by a random search within a few hundred steps; others take a thousand or more.
QUICK = 11

#: By what goes wrong.
BUGS: dict[str, SeededBug] = {
    "a copy is a new message": SeededBug(_every_copy_is_new, "reply redeliver"),
    "a copy acts again": SeededBug(_a_copy_acts_again, "reply redeliver"),
    "any receipt, not the highest, decides": SeededBug(_the_last_receipt_wins, "receipt_comes"),
    "the first digit of any text is a choice": SeededBug(_the_first_digit_counts, "write_oddly"),
    "a move leaves old texts in the queue": SeededBug(
        _the_old_truth_goes_out, "reply texts_go_out"
    ),
    "a move by staff does not withdraw the notification": _replaced(
        dispatch, "withdraw", lambda *_: None, "move reply ask texts_go_out"
    ),
    "a digit in use is printed again": SeededBug(
        _an_open_digit_is_printed_again, f"book change_phone {_ASKING}"
    ),
    "closed notifications are answered": SeededBug(
        _closed_notifications_are_answered, "cancel reply"
    ),
    "capacity is not looked at": _replaced(
        Slot, "has_room", lambda self, **_: True, "book reply move"
    ),
    "every answer twice": SeededBug(_every_answer_twice, "reply"),
    "old requests are taken": _replaced(
        authentication, "_check_age", lambda fields, max_age: None, "forge redeliver time_passes"
    ),
    "a stopped batch sends on": _replaced(
        BatchQuerySet, "stopped", lambda self, now: self.none(), f"{_BATCH} texts_go_out"
    ),
    "a stopped batch asks on": _replaced(
        BatchEntryQuerySet, "to_ask", BatchEntryQuerySet.waiting, _BATCH
    ),
    "answers stop with their batch": SeededBug(
        _an_answer_is_a_text_of_the_batch, "a_new_day_is_asked texts_go_out reply reply turn_batch"
    ),
    "two people see to one customer": _replaced(
        ticket_actions, "why_not_mine", lambda ticket, user: "", "write_oddly see_to answer"
    ),
    "a row that says nothing new undoes a choice": SeededBug(
        _a_row_is_always_news, "a_spreadsheet_comes it_comes_again an_import_goes_on move"
    ),
    "a wish by phone leaves texts in the queue": _replaced(
        consent,
        "_cancel_waiting",
        lambda msisdn, is_opted_out: None,
        "ask a_wish_by_phone sender_freezes sender_wakes",
    ),
    "an answer of unknown fate is sent again": _replaced(
        outbound,
        "SENT_AGAIN",
        _EVERYTHING_ALLOWED,
        "reply sender_dies time_passes sweep texts_go_out",
    ),
    "a late sender begins its call all the same": SeededBug(
        _no_fence, "reply sender_freezes sender_wakes time_passes sweep texts_go_out"
    ),
    "opt-out is not checked at the claim": _replaced(
        claiming, "DESPITE_OPT_OUT", _EVERYTHING_ALLOWED, "reply receipt_comes texts_go_out"
    ),
    "no limit of automatic answers": _replaced(
        service,
        "MOST_ANSWERS",
        10**6,
        "reply reply reply reply texts_go_out texts_go_out time_passes",
    ),
    "whoever chose is reminded": _replaced(
        reminders,
        "_is_silent",
        lambda notification: True,
        "a_new_day_is_asked texts_go_out reply reply until_a_reminder_is_due",
    ),
}
