"""What Vonage's answers mean: from the wire, or from its silence, to a SendResult in our words.

Pure. It reads the HTTP answer itself, because the SDK's errors lose the status code and the parts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bookings.gateways import PartResult, SendResult, Verdict

_LONGEST_WAIT = timedelta(hours=1)
_LONGEST_FIELD = 200  # characters
_SUCCESS, _REDIRECTION = range(200, 300), range(300, 400)

_ASK_VONAGE = "If it goes on, ask Vonage's support."
_WAIT_FOR_RECEIPT = "Wait for its receipt before you send it again."

# A part's status: what it is to us, what happened and what to do next.
# https://developer.vonage.com/en/api-errors/sms
_STATUSES: Mapping[str, tuple[Verdict, str]] = {
    "1": (
        Verdict.THROTTLED,
        "Sent faster than this Vonage account allows. It is tried again by itself.",
    ),
    "2": (
        Verdict.REFUSED,
        "Vonage misses something in this text. Check number, sender and words.",
    ),
    "3": (Verdict.REFUSED, "Vonage finds something invalid. Check the number and the sender."),
    "4": (
        Verdict.ACCOUNT,
        "Vonage refuses our key and secret. Check VONAGE_API_KEY and VONAGE_API_SECRET.",
    ),
    "5": (Verdict.PROVIDER_ERROR, f"An error inside Vonage. It is tried again. {_ASK_VONAGE}"),
    "6": (Verdict.REFUSED, "Vonage cannot send to this number. Check its country and prefix."),
    "7": (Verdict.REFUSED, "This number is barred from texts. Call the customer."),
    "8": (Verdict.ACCOUNT, "This Vonage account is suspended. Ask Vonage's support."),
    "9": (Verdict.ACCOUNT, "This Vonage account has no credit left. Top it up."),
    "10": (
        Verdict.THROTTLED,
        "Too many connections to this Vonage account. It is tried again by itself.",
    ),
    "11": (Verdict.ACCOUNT, "This Vonage account may not send by HTTP. Ask Vonage's support."),
    "12": (Verdict.REFUSED, "The text is too long for Vonage. Shorten it."),
    "14": (Verdict.ACCOUNT, "Vonage refuses the signature. Ask its support about this API key."),
    "15": (
        Verdict.REFUSED,
        "This sender may not text this number's country. Send from another number.",
    ),
    "22": (Verdict.REFUSED, "Vonage does not know this number's network. Check the number."),
    "23": (Verdict.REFUSED, "Vonage refuses the receipt URL. Check it in Vonage's dashboard."),
    "29": (
        Verdict.REFUSED,
        "This Vonage account is on trial and may text only numbers on its test list. "
        "Add the number there or top up the account.",
    ),
    "32": (
        Verdict.ACCOUNT,
        "Vonage got a signature and a secret at once. Ask its support about this API key.",
    ),
    "33": (Verdict.REFUSED, "This number is no longer in use. Ask the customer for another."),
}

_HTTP_STATUSES: Mapping[int, tuple[Verdict, str]] = {
    400: _STATUSES["2"],
    401: _STATUSES["4"],
    403: (
        Verdict.ACCOUNT,
        "Vonage forbids this account to send. Check the account and its list of allowed IPs.",
    ),
    413: _STATUSES["12"],
    422: _STATUSES["3"],
    429: _STATUSES["1"],
}

# If no part was taken, and for different reasons, the first of these decides.
_GRAVEST_FIRST = (
    Verdict.UNKNOWN,
    Verdict.ACCOUNT,
    Verdict.REFUSED,
    Verdict.THROTTLED,
    Verdict.PROVIDER_ERROR,
)

# A JSON object with one of these is Vonage's own; one without may be any proxy's on the way.
_VONAGE_NAMES = frozenset({"messages", "error-code", "error_code", "error_title", "title"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer."""

    http_status: int
    body: bytes
    retry_after: str = ""  # the header


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """No answer, or a broken one."""

    error: str  # the exception's name
    is_written: bool  # whether a byte of the request may have left


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What Vonage's JSON holds."""

    parts: tuple[PartResult, ...] = ()
    count: int = 0  # of parts, by its own account
    balance: str = ""


def classify(outcome: Answer | NoAnswer) -> SendResult:
    """What one try came to. Does not raise, whatever the answer holds."""
    match outcome:
        case NoAnswer(is_written=False):
            reason = "Vonage was not reached. It is tried again by itself. Check the network."
            return SendResult(verdict=Verdict.NOT_SENT, reason=reason, code=outcome.error)
        case NoAnswer():
            reason = f"The connection broke before Vonage answered. {_WAIT_FOR_RECEIPT}"
            return SendResult(verdict=Verdict.UNKNOWN, reason=reason, code=outcome.error)
        case Answer():
            return _classify_answer(outcome)


def _classify_answer(answer: Answer) -> SendResult:
    said = _read(answer.body)
    if answer.http_status in _SUCCESS and said and said.parts:
        verdict, reason, code = _judge_parts(said)
    else:
        verdict, reason = _judge_http(answer.http_status, said)
        code = str(answer.http_status)
    said = said or _Said()
    is_temporary = verdict in {Verdict.THROTTLED, Verdict.PROVIDER_ERROR}
    return SendResult(
        verdict=verdict,
        reason=reason,
        code=code,
        parts=said.parts,
        retry_after=_wait(answer.retry_after, said.parts) if is_temporary else None,
        balance=said.balance,
    )


def _judge_parts(said: _Said) -> tuple[Verdict, str, str]:
    """Verdict, reason and code."""
    failed = [part.status for part in said.parts if part.status != "0"]
    if failed and len(failed) < len(said.parts):
        reason = "Vonage took only a part of the text. Phone the customer, or send it again."
        return Verdict.PARTIAL, f"{reason} {_meaning(failed[0])[1]}", failed[0]
    if len(said.parts) < said.count:
        # The parts it is silent about may have been taken: neither accepted nor safe to try again.
        reason = f"Vonage's answer leaves out parts of the text. {_WAIT_FOR_RECEIPT}"
        return Verdict.UNKNOWN, reason, said.parts[0].status
    if not failed:
        return Verdict.ACCEPTED, "", "0"
    code = min(failed, key=lambda status: _GRAVEST_FIRST.index(_meaning(status)[0]))
    return *_meaning(code), code


def _judge_http(status: int, said: _Said | None) -> tuple[Verdict, str]:
    if said and any(part.status == "0" for part in said.parts):
        return Verdict.UNKNOWN, f"Vonage's answer contradicts itself. {_WAIT_FOR_RECEIPT}"
    if status in {500, 503} and said:
        return _STATUSES["5"]
    if status in _REDIRECTION:
        reason = f"Vonage sent us to another address. Check VONAGE_REST_HOST. {_WAIT_FOR_RECEIPT}"
        return Verdict.UNKNOWN, reason
    unclear = f"Vonage's answer (HTTP {status}) does not say whether it took the text."
    return _HTTP_STATUSES.get(status, (Verdict.UNKNOWN, f"{unclear} {_WAIT_FOR_RECEIPT}"))


def _meaning(status: str) -> tuple[Verdict, str]:
    unheard_of = f"Vonage answered with an unknown status ({status or 'none'}). {_ASK_VONAGE}"
    return _STATUSES.get(status, (Verdict.UNKNOWN, f"{unheard_of} {_WAIT_FOR_RECEIPT}"))


def _wait(retry_after: str, parts: tuple[PartResult, ...]) -> timedelta | None:
    """How long to wait, from the header (seconds) or from Vonage's words (milliseconds)."""
    if re.fullmatch(r"[0-9]{1,9}", retry_after):
        return min(timedelta(seconds=int(retry_after)), _LONGEST_WAIT)
    # As in: Throughput Rate Exceeded - please wait [ 250 ] and retry
    waits = [re.search(r"wait \[ ?([0-9]{1,9}) ?\]", part.error_text) for part in parts]
    milliseconds = max((int(wait[1]) for wait in waits if wait), default=None)
    if milliseconds is None:
        return None
    return min(timedelta(milliseconds=milliseconds), _LONGEST_WAIT)


def _read(body: bytes) -> _Said | None:
    """None if the body is not JSON of Vonage's."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or _VONAGE_NAMES.isdisjoint(said):
        return None
    messages = said.get("messages")
    elements = messages if isinstance(messages, list) else []
    balances = [_field(element, "remaining-balance") for element in elements]
    count = _field(said, "message-count")
    return _Said(
        parts=tuple(_part(element) for element in elements),
        count=int(count) if re.fullmatch(r"[0-9]{1,9}", count) else 0,
        balance=next((balance for balance in reversed(balances) if balance), ""),
    )


def _part(element: Any) -> PartResult:
    return PartResult(
        message_id=_field(element, "message-id"),
        status=_field(element, "status"),
        price=_field(element, "message-price"),
        network=_field(element, "network"),
        error_text=_field(element, "error-text"),
    )


def _field(element: Any, name: str) -> str:
    """A field as text that any database takes; "" if there is none."""
    value = element.get(name) if isinstance(element, dict) else None
    text = "" if value is None else str(value)[:_LONGEST_FIELD]
    return text.encode(errors="replace").decode().replace("\0", "")
