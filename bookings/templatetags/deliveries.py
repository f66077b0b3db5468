"""What staff's pages need in their templates."""

import datetime as dt
from typing import Any

from django import template
from django.conf import settings

from bookings.models.fields import show_msisdn
from bookings.reporting import masking, timeline
from bookings.reporting.timeline.steps import full_name

register = template.Library()


@register.simple_tag
def company_name() -> str:
    return str(settings.COMPANY_NAME)


@register.simple_tag
def has_simulator() -> bool:
    return bool(settings.SMS_GATEWAY == "simulator")


@register.filter
def phone_number(msisdn: str) -> str:
    """E.164 digits with plus and spaces: for our own numbers, and for simulated phones."""
    return show_msisdn(msisdn)


@register.filter
def masked(msisdn: str) -> str:
    """A customer's number, all but its last four digits hidden."""
    return masking.masked(msisdn)


@register.filter
def visible(text: str) -> str:
    """Somebody else's words, with control and direction characters shown."""
    return timeline.visible(text)


@register.filter
def staff_name(user: Any) -> str:
    """A member of staff, as colleagues know them."""
    return full_name(user)


@register.filter
def moment(at: dt.datetime) -> str:
    """A moment in the company's zone, with a month that nobody mistakes."""
    return timeline.moment(at)


@register.simple_tag(takes_context=True)
def number_of(context: Any, row: Any) -> str:
    """The masked number of a row, with a button to show it for whoever may see it."""
    may_reveal = context["request"].user.has_perm("bookings.reveal_number")
    return masking.number_of(row, may_reveal=may_reveal)
