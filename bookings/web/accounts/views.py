"""The page that asks for the second factor, and the one that sets it up."""

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bookings.web.accounts import second_factor
from bookings.web.accounts.access import StaffRequest, staff_only


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=16,
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )

    def clean_code(self) -> str:
        return str(self.cleaned_data["code"]).replace(" ", "")


@require_http_methods(["GET", "POST"])
@never_cache
@staff_only()
def page(request: StaffRequest) -> HttpResponse:
    """Ask for a code, or for the first one of a device that is being set up."""
    form = CodeForm(request.POST or None, label_suffix="")
    context = {"form": form, "next": _next(request)}
    if not second_factor.has_one(request.user):
        return _set_up(request, form, context)
    if form.is_valid():
        if second_factor.prove(request, request.user, form.cleaned_data["code"]):
            return redirect(_next(request))
        form.add_error("code", "This code is not right, or one was tried too often: wait a little.")
    return render(request, "second_factor.html", context)


def _set_up(request: StaffRequest, form: CodeForm, context: dict[str, object]) -> HttpResponse:
    if form.is_valid():
        if codes := second_factor.finish(request, request.user, form.cleaned_data["code"]):
            return render(request, "second_factor_codes.html", context | {"codes": codes})
        form.add_error("code", "This code is not right. Is the phone's clock?")
    device = second_factor.begin(request.user)
    key = device.config_url.partition("secret=")[2].partition("&")[0]
    shown = {"qr_code": second_factor.qr_code(device), "key": key, "is_new": True}
    return render(request, "second_factor.html", context | shown)


def _next(request: HttpRequest) -> str:
    """Where the browser was going, if that is a page of ours."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return wanted if is_ours else reverse("admin:index")
