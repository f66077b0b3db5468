"""Which numbers may be texted. Every reason why a number cannot be texted stands here."""

from collections.abc import Mapping

from django.conf import settings

from bookings.models import Consent
from bookings.models.fields import can_get_sms, country_of


def why_unreachable(msisdn: str) -> str:
    """Why no text is ever sent to this number, with the next step, as a sentence for staff; "" if texts can be sent."""
    if not can_get_sms(msisdn):
        return "This number cannot receive SMS: call instead."
    if settings.SMS_COUNTRIES and (country := country_of(msisdn)) not in settings.SMS_COUNTRIES:
        return f"Texts to this country ({country or 'unknown'}) are not allowed: call instead."
    return ""


def why_not_texted(msisdn: str, *, is_opted_out: bool) -> str:
    """Why this customer cannot be texted now, as a sentence for staff; "" if nothing prevents it. No query."""
    if is_opted_out:
        return "The customer has opted out."
    if msisdn in settings.VONAGE_NUMBERS:
        return "This is one of our own numbers."
    return why_unreachable(msisdn)


def find_why_not_texted(msisdn: str) -> str:
    """Look up the customer's consent and return why they cannot be texted now; "" if nothing prevents it."""
    return why_not_texted(msisdn, is_opted_out=Consent.objects.is_opted_out(msisdn))


def find_why_not_texted_each(numbers: Mapping[int, str]) -> dict[int, str]:
    """Return the same for many numbers under the same keys, with one query."""
    opted_out = set(
        Consent.objects.opted_out()
        .filter(msisdn__in=set(numbers.values()))
        .values_list("msisdn", flat=True)
    )
    return {
        key: why_not_texted(msisdn, is_opted_out=msisdn in opted_out)
        for key, msisdn in numbers.items()
    }
