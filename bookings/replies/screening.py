"""Texts that are kept but not read as a choice: one of too many, or what may be the end of a longer one."""

import datetime as dt
from dataclasses import dataclass

from bookings.language import messages
from bookings.models import InboundMessage

#: Texts of one number in an hour that are read. STOP and START are read beyond them, too.
MOST_TEXTS = 60
_HOUR = dt.timedelta(hours=1)

#: How long after the first piece of a text that came in pieces without part fields the next can come.
_NEXT_PIECE_WITHIN = dt.timedelta(seconds=60)

#: What one SMS holds, alone and as a part: GSM-7 septets, and UCS-2 units.
_FULL_GSM7, _FULL_UCS2 = (160, 153), (70, 67)


#: The rules, as they are stored with the text.
TOO_MANY, LONGER = "too many texts", "end of a longer text"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a text is not read as a choice, whatever it says."""

    rule: str
    attention: str  # why a person must look at it; "" if that was said before

    @property
    def is_flood(self) -> bool:
        return self.rule == TOO_MANY


def find_doubt(inbound: InboundMessage) -> Doubt | None:
    """Whether there are too many texts, or this one may be the end of another. The caller has locked the customer."""
    return _flood(inbound) or _longer_text(inbound)


def _flood(inbound: InboundMessage) -> Doubt | None:
    """The sixtieth text before this one came within the hour. A person hears of it once."""
    before = InboundMessage.objects.filter(msisdn=inbound.msisdn, pk__lt=inbound.pk)
    latest = list(before.order_by("-pk").values_list("received_at", "rule")[:MOST_TEXTS])
    lately = [rule for moment, rule in latest if moment > inbound.received_at - _HOUR]
    if len(lately) < MOST_TEXTS:
        return None
    why = f"More than {MOST_TEXTS} texts in an hour: not read by the machine."
    return Doubt(TOO_MANY, "" if TOO_MANY in lately else why)


def _longer_text(inbound: InboundMessage) -> Doubt | None:
    """Some US carriers pass on the parts of a long text as texts of their own (Vonage support article 205704158)."""
    before = InboundMessage.objects.filter(
        msisdn=inbound.msisdn,
        virtual_number=inbound.virtual_number,
        part_number=None,
        pk__lt=inbound.pk,
        received_at__gte=inbound.received_at - _NEXT_PIECE_WITHIN,
    )
    is_piece = inbound.part_number is None and any(
        _is_cut(text, inbound) for text in before.values_list("text", flat=True)
    )
    return Doubt(LONGER, "It may be the end of a longer text.") if is_piece else None


def _is_cut(text: str, after: InboundMessage) -> bool:
    """Whether a text fills an SMS: the first character of what came after it did not fit any more."""
    is_unicode = after.type == "unicode" or not messages.is_gsm7(text + after.text)
    length = messages.measure(text, is_unicode=is_unicode)
    more = messages.measure(after.text[:1], is_unicode=is_unicode)
    full = _FULL_UCS2 if is_unicode else _FULL_GSM7
    return any(limit - more < length <= limit for limit in full)
