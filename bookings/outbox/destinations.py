"""Where texts may go at all, whoever asks for them."""

from django.conf import settings

from bookings.models.fields import can_get_sms, country_of


def why_never(msisdn: str) -> str:
    """Why this number is never texted, with the next step, as a sentence for staff; "" if it may be."""
    if not can_get_sms(msisdn):
        return "This number cannot receive SMS: call instead."
    if settings.SMS_COUNTRIES and (country := country_of(msisdn)) not in settings.SMS_COUNTRIES:
        return f"Texts to this country ({country or 'unknown'}) are not allowed: call instead."
    return ""
