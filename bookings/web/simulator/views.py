"""The pages of the simulated phones: a customer's texts, and a keyboard to reply with."""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec
from urllib.error import HTTPError

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from bookings.models import Booking, InboundMessage, OutboundMessage, SimulatedPhone
from bookings.models.fields import parse_msisdn
from bookings.web.accounts.access import StaffRequest, is_fetch, staff_only
from bookings.web.pages import render_page
from bookings.web.simulator import phone_screens
from bookings.web.simulator.forms import ReplyForm, SwitchesForm
from bookings.web.simulator.gateway import LATE_REPLY_AFTER, deliver_reply, phone_of

QUICK_KEYS = ("1", "2", "3", "STOP")

may_look = staff_only()
# A simulated reply moves a booking as a real one does.
may_play = staff_only("bookings.notify_booking")

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def only_with_the_simulator(view: View[P]) -> View[P]:
    """Answer 404 if the gateway is not the simulator."""

    @functools.wraps(view)
    def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if settings.SMS_GATEWAY != "simulator":
            raise Http404("There is no simulator: texts go to real phones.")
        return view(request, *args, **kwargs)

    return checked


@only_with_the_simulator
@require_GET
@never_cache
@may_look
def phones(request: StaffRequest) -> HttpResponse:
    """List every phone that has received or sent a text, latest first."""
    typed = request.GET.get("number", "").strip()
    context: dict[str, Any] = {"number": typed}
    if typed:
        try:
            return redirect("simulator-phone", msisdn=parse_msisdn(typed))
        except ValidationError as error:
            context["problem"] = error.message
    context["phones"] = phone_screens.latest_texts()
    return render_page(request, "simulator/phones.html", "Simulated phones", context)


@only_with_the_simulator
@require_GET
@never_cache
@may_look
def phone(request: StaffRequest, msisdn: str) -> HttpResponse:
    """Show one customer's phone. A script polls its screen."""
    _check_known(msisdn)
    texts = InboundMessage.objects.filter(msisdn=msisdn, joined_in=None)
    last = texts.select_related("booking__slot").first()
    context: dict[str, Any] = {
        "msisdn": msisdn,
        "bubbles": phone_screens.thread(msisdn),
        "bookings": Booking.objects.filter(msisdn=msisdn).select_related("slot")[:5],
        "last": last,
        "moved": last.slot_changes.select_related("from_slot", "to_slot").first() if last else None,
    }
    if is_fetch(request):
        return render(request, "simulator/screen.html", context)
    switches = SwitchesForm(instance=phone_of(msisdn), label_suffix="")
    name = next((booking.customer_name for booking in context["bookings"]), "")
    extra = {"switches": switches, "keys": QUICK_KEYS, "name": name}
    return render_page(request, "simulator/phone.html", "Simulated phone", context | extra)


@only_with_the_simulator
@require_POST
@may_play
def reply(request: StaffRequest, msisdn: str) -> HttpResponse:
    """Send a text as the customer: it is posted to the real webhook, over HTTP, with a signature."""
    _check_known(msisdn)
    form = ReplyForm(request.POST)
    if not form.is_valid():
        return _said(request, msisdn, "Type a text of 1 to 160 characters.")
    return _said(request, msisdn, _send(msisdn, form.cleaned_data["text"]))


@only_with_the_simulator
@require_POST
@may_play
def switches(request: StaffRequest, msisdn: str) -> HttpResponse:
    """Change the settings of the phone."""
    _check_known(msisdn)
    form = SwitchesForm(request.POST)
    form.is_valid()  # checkboxes: whatever is posted is an answer
    SimulatedPhone.objects.update_or_create(msisdn=msisdn, defaults=form.cleaned_data)
    return _said(request, msisdn, "This is how the phone behaves from now on.")


def _check_known(msisdn: str) -> None:
    """Raise Http404 unless a booking or a message has this number."""
    tables = (Booking, OutboundMessage, InboundMessage)
    if not any(table.objects.filter(msisdn=msisdn).exists() for table in tables):
        raise Http404("No customer of ours has this number.")


def _send(msisdn: str, text: str) -> str:
    """Post the reply to our own webhook. Return a message for staff; empty if all went well."""
    texted = OutboundMessage.objects.filter(msisdn=msisdn, call_started_at__isnull=False).first()
    virtual_number = texted.sender if texted else settings.VONAGE_NUMBERS[0]
    try:
        deliver_reply(msisdn, text, virtual_number)
    except HTTPError as error:
        return f"The webhook answered with {error.code}: the text was not taken."
    except OSError as error:
        return f"The webhook could not be reached: {error}."
    if phone_of(msisdn).replies_late:
        return f"On its way: it reaches the webhook in {LATE_REPLY_AFTER:.0f} seconds."
    return ""


def _said(request: StaffRequest, msisdn: str, words: str) -> HttpResponse:
    """Answer a script with the message alone; redirect a browser to the phone."""
    if is_fetch(request):
        return HttpResponse(words, content_type="text/plain; charset=utf-8")
    if words:
        messages.info(request, words)
    return redirect("simulator-phone", msisdn=msisdn)
