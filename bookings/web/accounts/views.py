"""The pages around the log-in: the second factor, its set-up, and the lock after too many failures."""

from http import HTTPStatus
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from unfold.widgets import UnfoldAdminTextInputWidget

from bookings.web.accounts import second_factor
from bookings.web.accounts.access import StaffRequest, staff_only
from bookings.web.pages import render_page


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=16,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )

    def clean_code(self) -> str:
        return str(self.cleaned_data["code"]).replace(" ", "")


@require_http_methods(["GET", "POST"])
@never_cache
@staff_only()
def page(request: StaffRequest) -> HttpResponse:
    """Ask for a code, or set up a device and ask for its first code."""
    form = CodeForm(request.POST or None, label_suffix="")
    context = {"form": form, "next": _next(request)}
    if not second_factor.has_one(request.user):
        return _set_up(request, form, context)
    if form.is_valid():
        if second_factor.prove(request, request.user, form.cleaned_data["code"]):
            return redirect(_next(request))
        form.add_error(
            "code", "Code not accepted, or too many attempts: wait a little and try again."
        )
    return render_page(request, "accounts/second_factor.html", "Two-factor log-in", context)


def _set_up(request: StaffRequest, form: CodeForm, context: dict[str, object]) -> HttpResponse:
    if form.is_valid():
        if codes := second_factor.finish(request, request.user, form.cleaned_data["code"]):
            context |= {"codes": codes}
            return render_page(request, "accounts/recovery_codes.html", "Recovery codes", context)
        form.add_error("code", "Code not accepted. Check the phone's clock.")
    device = second_factor.begin(request.user)
    key = device.config_url.partition("secret=")[2].partition("&")[0]
    shown = {"qr_code": second_factor.qr_code(device), "key": key, "is_new": True}
    title = "Set up two-factor log-in"
    return render_page(request, "accounts/second_factor.html", title, context | shown)


def locked_out(request: HttpRequest, *args: Any) -> HttpResponse:
    """Answer 429: this user name failed to log in too often from this address (AXES_LOCKOUT_CALLABLE)."""
    status = HTTPStatus.TOO_MANY_REQUESTS
    return render_page(request, "accounts/locked_out.html", "Log-in locked", status=status)


def _next(request: HttpRequest) -> str:
    """Return the page that the browser asked for; the dashboard if that is not one of our own pages."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return wanted if is_ours else reverse("admin:index")
