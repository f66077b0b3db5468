"""One step of a booking's history, and how its words are made safe to read."""

import datetime as dt
import enum
import unicodedata
from dataclasses import dataclass
from typing import Any

from django.utils.formats import date_format
from django.utils.timezone import localtime

from bookings.models.schedule import DAY_FORMAT


class StepKind(enum.StrEnum):
    """In the order in which steps of the same instant happen."""

    BOOKED = "booked"
    STAFF = "staff"
    MOVED_BY_STAFF = "moved_by_staff"
    ENDED = "ended"
    ASKED = "asked"
    ATTEMPT = "attempt"
    RECEIPT = "receipt"
    REPLY = "reply"
    CONSENT = "consent"
    MOVED = "moved"
    TOLD = "told"


class Tone(enum.StrEnum):
    """How a step looks: the colour of its mark."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    WAITING = "waiting"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened to a booking. All of it but `number` is plain text, to be escaped where it is shown."""

    at: dt.datetime
    kind: StepKind
    title: str
    text: str = ""  # an SMS, word for word, with control characters made visible
    details: tuple[tuple[str, str], ...] = ()  # (label, value)
    who: str = ""  # a member of staff
    tone: Tone = Tone.PLAIN
    inbound: int | None = None  # the reply that it belongs to
    notification: int | None = None  # the notification that it belongs to
    number: tuple[str, Any] | None = None  # a label, and the row whose `msisdn` is shown masked


def visible(text: str) -> str:
    """A text whose control and direction characters show, so that it is what it looks like."""
    return text if text.isprintable() else "".join(map(_visible_character, text))


def _visible_character(char: str) -> str:
    if char in "\n\u200d":  # a joiner belongs to emoji
        return char
    match unicodedata.category(char):
        case "Cc" | "Cf" | "Cs" | "Co" | "Zl" | "Zp":
            return f"[U+{ord(char):04X}]"
    # No XML file, and so no spreadsheet, can hold these two.
    return f"[U+{ord(char):04X}]" if char in "\ufffe\uffff" else char


def moment(at: dt.datetime) -> str:
    """A moment in the company's zone, as staff read it: `Tue 24 Nov 2026 09:05`."""
    return date_format(localtime(at), f"{DAY_FORMAT} H:i")


def full_name(user: Any) -> str:
    """A member of staff, as colleagues know them; "" for nobody."""
    return str(user.get_full_name() or user.get_username()) if user else ""


def details(*pairs: tuple[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((label, visible(str(value))) for label, value in pairs if value not in {"", None})
