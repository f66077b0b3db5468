"""What staff's pages need in their templates."""

from django import template
from django.conf import settings

from bookings.models.fields import show_msisdn

register = template.Library()


@register.simple_tag
def company_name() -> str:
    return str(settings.COMPANY_NAME)


@register.simple_tag
def has_simulator() -> bool:
    return bool(settings.SMS_GATEWAY == "simulator")


@register.filter
def phone_number(msisdn: str) -> str:
    """E.164 digits with plus and spaces."""
    return show_msisdn(msisdn)
