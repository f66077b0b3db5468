"""A phone number as a spreadsheet left it: repaired only where one reading is left, and then it is said."""

import re

import phonenumbers
from django.conf import settings
from django.core.exceptions import ValidationError

from bookings.models.fields import E164_PATTERN, mask_msisdn, parse_msisdn

_SHORTEST = 7
_POWER = re.compile(r"(\d)(?:[.,](\d*))?[eE]\+?(\d{1,2})")


def read(text: str) -> tuple[str, str]:
    """Its E.164 digits, and what was repaired, as a sentence that names only the last digits.

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
    """What the spreadsheet had done to it."""
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
    """Those of a number that begins with neither + nor 0, one of which may have got lost; "" for any other."""
    digits = re.sub(r"[\s().\-/]", "", bare)
    return digits if digits.isdecimal() and not digits.startswith("0") else ""


def _written_out(text: str) -> str:
    """A number that was written as a power of ten, in full: if no digit of it was lost."""
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
    """The number that bare digits mean if it was a plus that got lost; else the one they mean here.

    Only where national numbers are written with a 0 in front can either have been lost.
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
