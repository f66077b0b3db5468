"""Who carries our SMS: the values that cross the border to a gateway, and what a gateway must do.

Nothing here knows Django's models or Vonage's field names.
"""

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol


class Verdict(enum.StrEnum):
    """What one try to hand over an SMS came to."""

    ACCEPTED = "accepted"  # every part was taken
    NOT_SENT = "not_sent"  # nothing left this machine: try again
    THROTTLED = "throttled"  # too fast: try again, more slowly
    ACCOUNT = "account"  # the gateway refuses us as a whole: open the circuit
    PROVIDER_ERROR = "provider_error"  # the gateway's own fault, and it said so: try again
    REFUSED = "refused"  # this message will never be taken
    PARTIAL = "partial"  # some parts were taken and some not: never again by itself
    UNKNOWN = "unknown"  # nobody knows whether it was taken


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingSMS:
    """One SMS as handed to a gateway. Numbers are E.164 digits without a plus."""

    to: str
    sender: str
    text: str
    client_ref: str  # at most 40 characters; comes back in the receipts
    is_unicode: bool  # the text has characters outside GSM-7
    ttl: timedelta | None = None  # how long the gateway may go on trying


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """The gateway's word on one part of an SMS."""

    message_id: str  # "" if the part was not taken
    status: str  # the gateway's own status code, "0" is taken
    price: str = ""  # decimal, in the account's currency
    network: str = ""  # MCCMNC
    error_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """What became of one try, in our words."""

    verdict: Verdict
    reason: str = ""  # plain words for staff, with the next step; "" when accepted
    code: str = ""  # the gateway's status, or the HTTP status, or the exception's name
    parts: tuple[PartResult, ...] = ()
    retry_after: timedelta | None = None  # only with THROTTLED and PROVIDER_ERROR
    balance: str = ""  # what is left on the account, if it said so


class SMSGateway(Protocol):
    """Hands SMS to a mobile network."""

    name: str

    def send(self, sms: OutgoingSMS) -> SendResult:
        """Hand over one SMS, at most once, and say what became of it. Does not raise for the network's faults."""

    def close(self) -> None:
        """Let go of connections; finish what was promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePart:
    """Which piece of a long SMS this is."""

    ref: str
    total: int
    number: int  # from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundSMS:
    """An SMS that a customer sent, as the gateway reported it, checked and cleaned."""

    gateway_message_id: str
    msisdn: str  # as it came: usually digits, but operators use letters ("MTN")
    virtual_number: str  # our number, as it came
    text: str  # NUL and lone surrogates replaced by U+FFFD; "" for binary
    type: str = "text"  # text, unicode or binary
    sent_at: datetime | None = None  # when the gateway began to push it, UTC
    part: MessagePart | None = None
    raw: dict[str, str] = field(default_factory=dict)  # every field as it came, without sig


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The gateway's later word on a part of an outbound message (a DLR)."""

    gateway_message_id: str
    client_ref: str  # "" if it was not echoed
    msisdn: str  # the customer
    status: str  # the gateway's word, whatever it is
    err_code: str = ""
    price: str = ""
    network_code: str = ""
    scts: str = ""  # carrier's time, zone unknown: shown, never computed with
    sent_at: datetime | None = None
    raw: dict[str, str] = field(default_factory=dict)
