"""Texts that are stored but not read as a choice: one of too many, or perhaps the end of a longer text. Pure."""

import datetime as dt
from dataclasses import dataclass

from bookings.language import encoding
from bookings.replies.context import EarlierText, ReplyContext

#: Texts of one number in an hour that are read. STOP and START are read beyond them, too.
MOST_TEXTS = 60
_HOUR = dt.timedelta(hours=1)

#: The next piece of a text that came in pieces without part fields arrives within this time.
_NEXT_PIECE_WITHIN = dt.timedelta(seconds=60)

#: The names of the rules, as they are stored with the text.
TOO_MANY, LONGER = "too many texts", "end of a longer text"


@dataclass(frozen=True, slots=True)
class Doubt:
    """The reason why a text is not read as a choice, whatever it says."""

    rule: str
    attention: str  # why a person must look at it; "" if a person was told before

    @property
    def is_flood(self) -> bool:
        """Return True if the number sent too many texts."""
        return self.rule == TOO_MANY


def find_doubt(context: ReplyContext) -> Doubt | None:
    """Return why the text must not be read as a choice, or None."""
    return _flood(context) or _longer_text(context)


def _flood(context: ReplyContext) -> Doubt | None:
    """Return a doubt if sixty texts came in the hour before this one. A person is told once."""
    since = context.received_at - _HOUR
    lately = [text.rule for text in context.earlier if text.received_at > since]
    if len(lately) < MOST_TEXTS:
        return None
    why = f"More than {MOST_TEXTS} messages in an hour: not read automatically."
    return Doubt(TOO_MANY, "" if TOO_MANY in lately else why)


def _longer_text(context: ReplyContext) -> Doubt | None:
    """Return a doubt if the text before this one filled an SMS.

    Why: some US carriers pass on the parts of a long text as texts of their own (Vonage support article 205704158).
    """
    if context.long_text is not None:
        return None
    since = context.received_at - _NEXT_PIECE_WITHIN
    is_piece = any(
        not text.is_part
        and text.virtual_number == context.virtual_number
        and text.received_at >= since
        and _is_cut(text, context)
        for text in context.earlier
    )
    return Doubt(LONGER, "This may be the end of a longer message.") if is_piece else None


def _is_cut(before: EarlierText, context: ReplyContext) -> bool:
    """Return True if a text fills an SMS so that the first character of the next text had no room left."""
    after = context.text
    is_unicode = context.type == "unicode" or not encoding.is_gsm7(before.text + after)
    length = encoding.measure(before.text, is_unicode=is_unicode)
    more = encoding.measure(after[:1], is_unicode=is_unicode)
    return any(limit - more < length <= limit for limit in encoding.FULL[is_unicode])
