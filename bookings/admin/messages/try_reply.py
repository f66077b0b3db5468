"""Try a reply: paste what customers wrote, and see how each would be read and what would come of it."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from bookings.admin.shared.guard import is_key
from bookings.admin.shared.pages import OwnPages
from bookings.language import messages
from bookings.models import Booking, InboundMessage
from bookings.replies import preview

#: Characters that can be pasted: five hundred long texts.
_LONGEST = 200_000


class TryForm(forms.Form):
    """Texts, and the notification that they are tried against."""

    texts = forms.CharField(
        label="Replies",
        max_length=_LONGEST,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        help_text=f"One reply per line, at most {preview.MOST_TEXTS}.",
    )
    is_one = forms.BooleanField(
        label="Treat as one message", required=False, help_text="Keeps line breaks."
    )
    reference = forms.CharField(
        label="Booking",
        required=False,
        max_length=40,
        help_text="Reference: test against this customer's notification. Leave empty to use an example.",
    )
    language = forms.ChoiceField(label="Language")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        language: Any = self.fields["language"]
        language.choices = [(name, name) for name in messages.languages()]
        language.initial = "en"

    def clean_reference(self) -> Booking | None:
        reference = self.cleaned_data["reference"].strip()
        if not reference:
            return None
        booking = Booking.objects.filter(reference__iexact=reference).order_by("pk").first()
        if booking is None:
            raise forms.ValidationError("Booking not found.")
        return booking

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        count = len(self.lines())
        if count > preview.MOST_TEXTS:
            self.add_error(
                "texts",
                f"{count} replies; at most {preview.MOST_TEXTS} can be tested at once.",
            )
        booking = cleaned.get("reference")
        if booking is not None and preview.about(booking) is None:
            self.add_error(
                "reference",
                "This booking has no notification yet. Leave the field empty to use an example.",
            )
        return cleaned

    def lines(self) -> list[str]:
        """The texts, each by itself. Empty lines are none."""
        pasted = self.cleaned_data.get("texts", "")
        if self.cleaned_data.get("is_one"):
            return [pasted]
        return [line for line in pasted.splitlines() if line.strip()]


class TryReplies(OwnPages):
    """On the list of inbound messages, for whoever may see it."""

    def get_urls(self) -> list[URLPattern]:
        return [self.own_path("try/", self.try_view, "try"), *super().get_urls()]

    def try_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        is_asked = request.method == "POST"
        form = TryForm(request.POST) if is_asked else TryForm(initial=_recorded(request))
        asked, tried = None, []
        if is_asked and form.is_valid():
            language, booking = form.cleaned_data["language"], form.cleaned_data["reference"]
            asked = (preview.about(booking) if booking else None) or preview.example(language)
            tried = preview.attempt(form.lines(), asked, language)
        return self.own_page(
            request,
            "inboundmessage/try.html",
            "Test replies",
            form=form,
            asked=asked,
            tried=tried,
            moved=sum(one.outcome == "moved" for one in tried),
        )


def _recorded(request: HttpRequest) -> dict[str, Any]:
    """A reply that came, to be tried again: `?message=812`. Its words do not stand in the address."""
    key = request.GET.get("message", "")
    rows = InboundMessage.objects.select_related("booking")
    inbound = rows.filter(pk=key).first() if is_key(key) else None
    if inbound is None:
        return {}
    booking = inbound.booking if inbound.notification_id else None
    return {
        "texts": inbound.said,
        "is_one": True,
        "reference": booking.reference if booking else "",
        "language": booking.language if booking else "en",
    }
