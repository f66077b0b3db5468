"""For each seeded bug a short sequence of rules that shows it, as Hypothesis found and shrank it.

The small campaign plays these instead of searching for each bug: with its bug a sequence must break a promise, and
without it must break none.
"""

from typing import Any

from bookings.notifications import batches
from tests.campaigns.states.booking_and_reply_rules import PHONES

#: A rule of the state machine by its name, and its arguments.
Step = tuple[str, dict[str, Any]]


def _step(rule: str, **arguments: Any) -> Step:
    return rule, arguments


def _reply(which: int = 0) -> Step:
    """The first customer answers with a digit: 0 is the last one in the notification."""
    return _step("reply", msisdn=PHONES[0], which=which, form="{}", fault=0)


def _receipt(status: str, code: str = "1") -> Step:
    """The receipt for the first customer's notification."""
    return _step("deliver_receipt", which=1, part=0, status=status, code=code, names_ref=False)


def _book(number: int, days: int = 1) -> Step:
    """A delivery of the first customer, `days` from now, in a slot that has room for one."""
    return _step("book", number=number, msisdn=PHONES[0], days=days, window=0)


def _pause(which: int = 0) -> Step:
    return _step("change_batch", which=which, turn=batches.pause_batch)


def _new_day(*numbers: int) -> Step:
    return _step("notify_new_deliveries", numbers=set(numbers), days=2)


_SEND = _step("send_texts")
_SWEEP = _step("sweep")
_MINUTE, _QUARTER = (
    _step("let_time_pass", by={"seconds": 61}),
    _step("let_time_pass", by={"minutes": 16}),
)
_REDELIVER = _step("redeliver", which=0)
_FREEZE = _step("freeze_sender", answer="accepted", at="claimed")
_WAKE = _step("frozen_sender_continues", which=0)
_UNCLEAR = _step("write_unclear_text", msisdn=PHONES[0], text="1 or 2")
_SPREADSHEET = _step("start_import", rows=[(0, PHONES[0], 1, 0)])
_IMPORT = _step("continue_import", which=0)

#: By the name of the bug. Before the first step two customers have been notified.
COUNTEREXAMPLES: dict[str, list[Step]] = {
    "a copy is a new message": [_reply(), _REDELIVER],
    "a copy acts again": [_reply(), _REDELIVER],
    "any receipt, not the highest, decides": [_receipt("delivered"), _receipt("expired")],
    "the first digit of any text is a choice": [
        _step("write_unclear_text", msisdn=PHONES[0], text="2 3")
    ],
    "a move leaves old texts in the queue": [_reply(), _reply(1), _SEND],
    "a move by staff does not withdraw the notification": [
        _step("move", number=0, days=1, window=0),
        _reply(),
    ],
    "a digit in use is printed again": [_book(5), _step("notify", number=5), _SEND],
    "closed notifications are answered": [_step("cancel", number=0), _reply()],
    "capacity is not looked at": [_book(2, days=2)],
    "every answer twice": [_reply()],
    "old requests are taken": [_step("forge", msisdn=PHONES[0], which=0, hours=26)],
    "a stopped batch sends on": [
        _book(4),
        _step("start_batch", numbers={4}, with_reminder=True),
        _step("ask_waiting_customers", most=1),
        _pause(),
        _SEND,
    ],
    "a stopped batch asks on": [
        _book(4),
        _step("start_batch", numbers={4}, with_reminder=True),
        _pause(),
        _step("ask_waiting_customers", most=1),
    ],
    "answers stop with their batch": [
        _new_day(3),
        _reply(),
        _pause(),
    ],
    "two people see to one customer": [
        _UNCLEAR,
        _UNCLEAR,
        _step("act_on_ticket", which=0, who=0, act="take"),
        _step("act_on_ticket", which=0, who=1, act="let_go"),
    ],
    "a row that says nothing new undoes a choice": [
        _SPREADSHEET,
        _IMPORT,
        _reply(),
        _SPREADSHEET,
        _IMPORT,
    ],
    "a wish by phone leaves texts in the queue": [
        _step("notify", number=0),
        _FREEZE,
        _step("record_consent_by_phone", msisdn=PHONES[0], is_out=True),
        _WAKE,
    ],
    "an answer of unknown fate is sent again": [
        _reply(),
        _step("kill_sender", answer="accepted", dies="after"),
        _MINUTE,
        _SWEEP,
        _QUARTER,
        _SWEEP,
        _SEND,
    ],
    "a late sender begins its call all the same": [
        _reply(),
        _FREEZE,
        _MINUTE,
        _SWEEP,
        _SEND,
        _WAKE,
    ],
    "opt-out is not checked at the claim": [_reply(), _receipt("failed", code="9"), _SEND],
    "no limit of automatic answers": [_book(2, days=3), *[_reply(1), _SEND] * 4],
    "customers who chose are reminded": [
        _new_day(3),
        _reply(2),
        _step("advance_to_reminder"),
        _SEND,
    ],
}
