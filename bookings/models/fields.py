"""Phone numbers as Vonage writes them: E.164 digits without a plus."""

import functools
import re
from typing import Any

import phonenumbers
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

#: The truth every table keeps. `\\A` and `\\Z`, since `$` lets a trailing newline through on SQLite.
E164_PATTERN = r"\A[1-9][0-9]{6,14}\Z"

#: The last digits of a number that is masked: enough to tell two customers apart.
_SHOWN_DIGITS = 4


def msisdn_is_e164(name: str) -> models.CheckConstraint:
    """The CHECK that keeps anything but E.164 digits out of the column `msisdn`."""
    return models.CheckConstraint(
        name=name,
        condition=Q(msisdn__regex=E164_PATTERN),
        violation_error_message="Enter a phone number with its country code.",
    )


def is_one_of(
    field: str, choices: type[models.TextChoices], *, name: str
) -> models.CheckConstraint:
    """The CHECK that keeps a word that we do not know out of a column. Empty is a word only where it is a choice."""
    return models.CheckConstraint(name=name, condition=Q(**{f"{field}__in": choices.values}))


def check_reference(text: str) -> None:
    """A booking's reference stands in texts to customers: no line breaks, no links, nothing invisible.

    Raises ValidationError with words for the person who typed it.
    """
    if not re.fullmatch(r"\w[\w .#/-]{0,39}", text):
        raise ValidationError(
            "A reference has up to 40 letters, digits, blanks and . # / - _, and begins with a letter or digit.",
            code="invalid",
        )


def parse_msisdn(text: str, region: str | None = None) -> str:
    """A number in any usual formatting as E.164 digits. `region` is where national numbers are from.

    Raises ValidationError with words for the person who typed it.
    """
    region = region or settings.PHONE_REGION
    cleaned = text.strip()
    try:
        number = phonenumbers.parse(cleaned, region)
    except phonenumbers.NumberParseException:
        raise ValidationError(f"{cleaned[:40]!r} is not a phone number.", code="invalid") from None
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason == phonenumbers.ValidationResult.TOO_SHORT:
        raise ValidationError(f"{cleaned[:40]} is too short for a phone number.", code="too_short")
    if reason == phonenumbers.ValidationResult.TOO_LONG:
        raise ValidationError(f"{cleaned[:40]} is too long for a phone number.", code="too_long")
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE or number.extension:
        raise ValidationError(
            f"{cleaned[:40]} is not a phone number that can be texted.", code="invalid"
        )
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def show_msisdn(msisdn: str) -> str:
    """E.164 digits as people write them, with plus and spaces; anything else as it is."""
    try:
        number = phonenumbers.parse(f"+{msisdn}", None)
    except phonenumbers.NumberParseException:
        return msisdn
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def mask_msisdn(msisdn: str) -> str:
    """E.164 digits with only the country code and the last four shown: `+44 •••••• 0123`.

    What is no number (an operator's name, a short code) stays as it is: it is nobody's phone.
    """
    if as_msisdn(msisdn) != msisdn:
        return msisdn
    try:
        country_code = str(phonenumbers.parse(f"+{msisdn}", None).country_code)
    except phonenumbers.NumberParseException:
        country_code = ""
    hidden = "\N{BULLET}" * (len(msisdn) - len(country_code) - _SHOWN_DIGITS)
    return f"+{country_code} {hidden} {msisdn[-_SHOWN_DIGITS:]}"


def country_of(msisdn: str) -> str:
    """The country of E.164 digits as two capitals, such as GB; "" if its code is nobody's.

    Where countries share a code (US and Canada, GB and Jersey) the number tells them apart, or else
    it counts for the code's main country.
    """
    try:
        number = phonenumbers.parse(f"+{msisdn}", None)
    except phonenumbers.NumberParseException:
        return ""
    region = phonenumbers.region_code_for_number(number)
    return region or phonenumbers.region_code_for_country_code(number.country_code or 0)


@functools.lru_cache(maxsize=2**16)  # a day's numbers are asked about again and again
def can_get_sms(msisdn: str) -> bool:
    """Return True if a text to this number can arrive: not a fixed line, and possible at all.

    Only what the numbering plan is sure of counts: an unknown kind is tried.
    """
    try:
        number = phonenumbers.parse(f"+{msisdn}", None)
    except phonenumbers.NumberParseException:
        return False
    kind = phonenumbers.number_type(number)
    return phonenumbers.is_possible_number(number) and kind not in {
        phonenumbers.PhoneNumberType.FIXED_LINE,
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.TOLL_FREE,
        phonenumbers.PhoneNumberType.SHARED_COST,
        phonenumbers.PhoneNumberType.UAN,
        phonenumbers.PhoneNumberType.VOICEMAIL,
    }


class MsisdnFormField(forms.CharField):
    """A phone number as people type it: in any usual formatting. Gives E.164 digits."""

    def clean(self, value: Any) -> str:
        typed = super().clean(value)
        return parse_msisdn(typed) if typed else typed

    def prepare_value(self, value: Any) -> Any:
        return show_msisdn(value) if isinstance(value, str) and as_msisdn(value) == value else value


class MsisdnField(models.CharField):  # type: ignore[type-arg]  # generic in its stubs alone
    """A phone number, kept as E.164 digits. Its forms take any usual formatting; its tables have the CHECK."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 15)
        super().__init__(*args, **kwargs)

    def formfield(self, *args: Any, **kwargs: Any) -> Any:
        # People type spaces, brackets and a plus: the form's field must let them.
        return super().formfield(
            *args, **{"form_class": MsisdnFormField, "max_length": 40, **kwargs}
        )


def as_msisdn(text: str) -> str:
    """What a gateway wrote as a phone number, as E.164 digits; "" if it is none (an operator's name, a short code)."""
    digits = text.strip().removeprefix("+").removeprefix("00")
    return digits if re.fullmatch(E164_PATTERN, digits) else ""
