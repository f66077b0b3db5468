"""A customer's number on staff's pages: masked, and the button that shows the whole of it."""

import json
import re
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.html import format_html

from bookings.models.fields import as_msisdn, mask_msisdn
from bookings.reporting.timeline import visible

#: Where a gateway writes phone numbers: the customer's, and ours.
_NUMBERS = ("msisdn", "to", "from")
#: What people and spreadsheets write between the digits of one number.
_BETWEEN = r"(?: [\s().\-/_'\u00b7\u2010-\u2015\u2212] | [,;](?!\s) )"
#: Digits as people write numbers. A date is none, unless digits go on behind it that are no time.
_DATE_OR_NUMBER = re.compile(
    rf"""
    (?P<date> (?: (?:19|20|21)\d\d-[01]\d-[0-3]\d | [0-3]?\d(?P<between>[-/.])[0-3]?\d(?P=between)(?:19|20|21)\d\d )
        (?! {_BETWEEN}* \d (?!\d?:) ) )
    | \+?\d (?: \d | {_BETWEEN} ){{5,}} \d
    """,
    re.VERBOSE,
)
#: As names of files have it: `20261124`, `2026-11-24_2`, `20261124 (1)`.
_DATED = re.compile(r"20\d\d-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(\W{1,2}\d{1,2}|_\d{1,2})?")
#: Fewer digits are no whole number.
_FEWEST = 7


def masked(msisdn: str) -> str:
    """A number as staff see it: `+44 •••••• 0123`. What is none (MTN, a short code) shows as it came."""
    return visible(mask_msisdn(as_msisdn(msisdn) or msisdn))


def number_of(row: Any, *, may_reveal: bool) -> str:
    """The masked number of a row (`row.msisdn`), as HTML. Whoever may reveal it gets a button beside it.

    The button belongs to the form of `reveal_form.html`, so the page must have that.
    """
    number = format_html('<bdi class="phone">{}</bdi>', masked(row.msisdn))
    if not may_reveal or not as_msisdn(row.msisdn):
        return number
    address = reverse("reveal-number", args=[type(row).__name__.lower(), row.pk])
    return format_html(
        '{} <button class="reveal" form="reveal" formaction="{}"'
        ' title="Shows the whole number. It is recorded that you looked.">show</button>',
        number,
        address,
    )


def masked_payload(row: Any, *, ours: str = "") -> str:
    """What came over the wire (`row.raw`) as JSON, with customers' numbers masked.

    `ours` is a number of ours, beside those of today's settings.
    """
    our_numbers = {*settings.VONAGE_NUMBERS, ours}
    raw = {
        key: masked(str(value))
        if key in _NUMBERS and as_msisdn(str(value)) not in our_numbers
        else value
        for key, value in row.raw.items()
    }
    shown = json.dumps(raw, indent=1, ensure_ascii=False)
    msisdn = as_msisdn(row.msisdn)
    return shown.replace(msisdn, masked(msisdn)) if msisdn else shown


def without_numbers(words: str) -> str:
    """Digits that stand together as in a phone number, without all but the last four. Dates stay."""
    return _DATE_OR_NUMBER.sub(_shortened, words)


def name_without_numbers(name: str) -> str:
    """The name of a file likewise: there a date stays also as `20261124`, and with the number of a copy."""
    return _DATE_OR_NUMBER.sub(
        lambda found: found[0] if _DATED.fullmatch(found[0]) else _shortened(found), name
    )


def without_number(words: str, written: str) -> str:
    """The same for words that may quote what somebody has `written` as a number, also with a letter or a star in it."""
    quoted = written.strip().removeprefix("'").strip()[:40]
    return without_numbers(words.replace(quoted, _last_digits(quoted)) if quoted else words)


def _shortened(found: re.Match[str]) -> str:
    return found[0] if found["date"] else _last_digits(found[0])


def _last_digits(written: str) -> str:
    digits = re.sub(r"\D", "", written)
    return written if len(digits) < _FEWEST else "\N{BULLET}" * 4 + digits[-4:]
