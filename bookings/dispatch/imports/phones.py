"""Reads phone numbers from a spreadsheet. A damaged number is repaired only if it has one reading, and reported."""

import re

import phonenumbers
from django.conf import settings
from django.core.exceptions import ValidationError

from bookings.models.fields import E164_PATTERN, mask_msisdn, parse_msisdn

_SHORTEST = 7
_POWER = re.compile(r"(\d)(?:[.,](\d*))?[eE]\+?(\d{1,2})")


def read(text: str) -> tuple[str, str]:
    """Return the E.164 digits, and the repair as a sentence that names only the last digits; "" if there was none.

    Raises ValueError with a sentence for dispatch.
    """
    text = text.removeprefix("'").strip()
    if not text:
        raise ValueError("The phone number is missing.")
    bare = re.sub(r"\.0$", "", _written_out(text))
    if any(char.isalpha() for char in bare):
        raise ValueError(f"{text[:40]} is not a phone number.")
    if sum(char.isdigit() for char in bare) in range(1, _SHORTEST):
        raise ValueError(f"{text[:40]} is too short for a phone number.")
    msisdn = _parsed(bare)
    digits = _digits(bare)
    if digits and _without_trunk_zero(digits) != msisdn:
        raise ValueError(
            f"{bare} is ambiguous: its leading 0 or + is missing. Write it with + and the country"
            " code."
        )
    fault = _fault(text, bare, msisdn)
    return msisdn, f"{fault}: {mask_msisdn(msisdn)}." if fault else ""


def _fault(text: str, bare: str, msisdn: str) -> str:
    """The repair of what the spreadsheet did to the number, in words; "" if it did nothing."""
    if re.search(r"[eE]", text):
        return "Scientific notation expanded"
    if text != bare:
        return "Trailing .0 removed"
    digits = _digits(bare)
    if not digits:
        return ""
    if digits == msisdn:
        return "Leading + restored"
    if _trunk_prefix() == "0":
        return "Leading 0 restored"
    return ""


def _digits(bare: str) -> str:
    """The digits of a number that begins with neither + nor 0, one of which may be lost; "" for any other number."""
    digits = re.sub(r"[\s().\-/]", "", bare)
    return digits if digits.isdecimal() and not digits.startswith("0") else ""


def _written_out(text: str) -> str:
    """Write out a number in scientific notation. Raises ValueError if digits were lost."""
    power = _POWER.fullmatch(text)
    if power is None and not re.fullmatch(r"[\d.,]+[eE][+-]?\d+", text):
        return text
    if power is None or len(power[2] or "") != int(power[3]):
        raise ValueError(
            f"{text[:40]} was rounded by the spreadsheet. Format the column as text and enter the"
            " number again."
        )
    return power[1] + (power[2] or "")


def _parsed(text: str) -> str:
    try:
        msisdn = parse_msisdn(text)
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from None
    if not re.match(E164_PATTERN, msisdn):
        raise ValueError(f"{text[:40]} is not a phone number.")
    return msisdn


def _without_trunk_zero(digits: str) -> str:
    """The number that bare digits mean if a plus was lost; else the national number.

    Only where national numbers are written with a leading 0 can either have been lost.
    """
    here = _parsed(digits)
    if _trunk_prefix() != "0":
        return here
    try:
        return _parsed(f"+{digits}")
    except ValueError:
        return here


def _trunk_prefix() -> str | None:
    return phonenumbers.ndd_prefix_for_region(settings.PHONE_REGION, strip_non_digits=True)
