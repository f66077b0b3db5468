"""The notify form: staff enter a number and a slot, the customer gets an SMS, and staff follow its progress."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from bookings.dispatch import bookings as dispatch
from bookings.language import encoding
from bookings.models import (
    Booking,
    InboundMessage,
    Kind,
    Notification,
    OutboundMessage,
    lock_customer,
)
from bookings.notifications import asking
from bookings.notifications.drafts import draft_notification
from bookings.reporting.timeline import visible
from bookings.web.accounts.access import StaffRequest, is_fetch, staff_only
from bookings.web.form_tokens import new_nonce
from bookings.web.notify.forms import NotifyForm, reference_for
from bookings.web.pages import render_page

RIGHTS = ("bookings.notify_booking", "bookings.add_booking")
may_notify = staff_only(*RIGHTS)


@require_GET
@never_cache
@staff_only()
def form(request: StaffRequest) -> HttpResponse:
    """Show the empty form. Staff without the permission to notify are redirected to the admin."""
    if not request.user.has_perms(RIGHTS):
        return redirect("admin:index")
    nonce = new_nonce()
    initial = {"nonce": nonce, "reference": reference_for(nonce)}
    return _page(request, NotifyForm(initial=initial))


@require_POST
@never_cache
@may_notify
def preview(request: StaffRequest) -> HttpResponse:
    """Preview the SMS as it would be sent now. A script gets the preview without the form."""
    typed = NotifyForm(request.POST)
    planned = _preview(typed)
    if is_fetch(request):
        return render(request, "notify/preview.html", planned)
    return _page(request, typed, planned)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@may_notify
def send(request: StaffRequest) -> HttpResponse:
    """Book and notify in one transaction, once per nonce; then redirect to the progress page."""
    if request.method != "POST":  # the address of a form that had errors, opened again
        return redirect("notify-form")
    typed = NotifyForm(request.POST)
    if earlier := _sent_before(typed):
        return _again(request, earlier)
    notification = _book_and_notify(request.user, typed) if typed.is_valid() else None
    if notification is not None:
        return redirect("notification-progress", pk=notification.pk)
    if earlier := _sent_before(typed):  # the other half of a double click was faster
        return _again(request, earlier)
    typed.renew_bad_nonce()
    return _page(request, typed, status=400)


@require_GET
@never_cache
@may_notify
def progress(request: StaffRequest, pk: int) -> HttpResponse:
    """Show the progress of a notification and its replies. A script polls this page."""
    notification = get_object_or_404(
        Notification.objects.select_related("booking__slot", "slot"), pk=pk
    )
    context = {
        "notification": notification,
        "booking": notification.booking,
        "message": notification.outbound_messages.filter(kind=Kind.NOTIFICATION).first(),
        "options": notification.options.select_related("slot"),
        "inbound": _inbound(notification),
    }
    if is_fetch(request):
        return render(request, "notify/steps_part.html", context)
    return render_page(request, "notify/progress.html", _title(notification.booking), context)


def _title(booking: Booking) -> str:
    name = visible(booking.customer_name)
    return f"{booking.reference}, {name}" if name else booking.reference


def _inbound(notification: Notification) -> list[InboundMessage]:
    found = InboundMessage.objects.filter(notification=notification).order_by("pk")
    return list(found.prefetch_related("answers"))


def _sent_before(typed: NotifyForm) -> Notification | None:
    if "nonce" in typed.errors:
        return None
    first = OutboundMessage.objects.filter(idempotency_key=typed.idempotency_key)
    return next((message.notification for message in first.select_related("notification")), None)


def _again(request: HttpRequest, earlier: Notification) -> HttpResponse:
    messages.info(request, "This form was already sent. Nothing was sent again.")
    return redirect("notification-progress", pk=earlier.pk)


def _book_and_notify(user: User, typed: NotifyForm) -> Notification | None:
    """Book and notify in one transaction. On failure nothing is stored and the form gets the error."""
    wanted = typed.booking()
    try:
        with transaction.atomic():
            lock_customer(wanted.msisdn)  # before the slot, as a reply of the same customer does
            booking = dispatch.book(
                reference=wanted.reference,
                customer_name=wanted.customer_name,
                msisdn=wanted.msisdn,
                slot=wanted.slot,
            )
            key = typed.idempotency_key
            return asking.notify(booking, user=user, idempotency_key=key)
    except (dispatch.CannotBook, asking.CannotNotify) as error:
        typed.add_error(None, str(error))
    except IntegrityError:  # the nonce was used this moment, which the caller looks for; or else:
        typed.add_error(None, "Something changed at the same moment. Nothing was sent: try again.")
    return None


def _preview(typed: NotifyForm) -> dict[str, Any]:
    """Return the preview of a complete form, or the problems of the fields filled in so far."""
    if not typed.is_valid():
        typed_so_far = {
            name: errors for name, errors in typed.errors.items() if typed.data.get(name)
        }
        return {"problems": [error for errors in typed_so_far.values() for error in errors]}
    try:
        plan = draft_notification(typed.booking())
    except asking.CannotNotify as error:
        return {"problems": [str(error)]}
    return {"plan": plan, "costly": " ".join(encoding.costly_characters(plan.text))}


def _page(
    request: HttpRequest,
    typed: NotifyForm,
    planned: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    context = {"form": typed, **(planned or {})}
    return render_page(request, "notify/form.html", "Notify a customer", context, status=status)
