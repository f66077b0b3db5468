"""Who opted out or in again, by which words and by whom; what that blocked; and a wish given by phone."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from unfold.decorators import display

from bookings.admin.shared.columns import (
    inbound_link,
    listed_text_column,
    moment_column,
    number_column,
    text_column,
    user_column,
)
from bookings.admin.shared.model_admins import HistoryAdminMixin, KeptAdmin
from bookings.admin.shared.pages import OwnPages
from bookings.customers import consent as consents
from bookings.models import (
    Booking,
    Consent,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    OutboundMessage,
    Ticket,
    TicketKind,
)
from bookings.models.fields import as_msisdn, parse_msisdn
from bookings.outbox.delivery_receipts import OPTED_OUT as OPTED_OUT_BY_RECEIPT
from bookings.reporting.masking import masked, number_of

#: How many rows of each kind the page of a number shows: the newest.
_SHOWN = 50


class WishForm(forms.Form):
    """A wish about our texts, as somebody told it to a member of staff."""

    number = forms.CharField(label="Phone number", max_length=40, required=False)
    wish = forms.ChoiceField(
        label="New status",
        choices=[("out", "opted out"), ("in", "opted in")],
        error_messages={
            "required": "Choose the new status.",
            "invalid_choice": "Choose the new status.",
        },
    )
    words = forms.CharField(
        max_length=200,
        error_messages={
            "required": "Enter the reason.",
            "max_length": "At most 200 characters.",
        },
    )

    def __init__(self, *args: Any, msisdn: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.msisdn = msisdn

    def clean_number(self) -> str:
        if not self.msisdn:
            if not self.cleaned_data["number"].strip():
                raise forms.ValidationError("Enter the phone number.")
            self.msisdn = parse_msisdn(self.cleaned_data["number"])
        return str(self.cleaned_data["number"])


@admin.register(ConsentChange)
class ConsentChangeAdmin(OwnPages, HistoryAdminMixin, KeptAdmin):
    empty_says = "Nobody has opted out."
    changed_at = moment_column("created_at", "changed")
    phone = number_column("phone number")
    by = user_column()
    inbound_link = inbound_link
    words_shown = text_column("words", "words")
    words_listed = listed_text_column("words", "words")
    fields = [
        *("changed_at", "phone", "is_opted_out", "words_shown", "inbound_link", "receipt", "by"),
        "story",
    ]
    guarded_fields = {"receipt": "bookings.view_deliveryreceipt"}
    list_display = ["changed_at", "phone", "consent", "words_listed", "by", "story"]
    list_select_related = ["user"]
    list_filter = ["is_opted_out", "created_at"]
    date_hierarchy = "created_at"
    phone_fields = ("msisdn",)
    search_fields = ["words"]
    search_help_text = "Phone number, or words"
    list_before_template = "admin/bookings/consentchange/hint.html"

    @display(description="new status", label={"out": "danger", "in": "success"})
    def consent(self, change: ConsentChange) -> tuple[str, str]:
        return ("out", "opted out") if change.is_opted_out else ("in", "opted in")

    @display(description="this number")
    def story(self, change: ConsentChange) -> str:
        address = reverse("admin:bookings_consentchange_number", args=[change.pk])
        return format_html('<a class="link" href="{}">all changes</a>', address)

    class Media:
        css = {"all": ["bookings/consent.css"]}

    # The page of one number: its address holds the id of a row, never the number

    def get_urls(self) -> list[URLPattern]:
        return [
            self.own_path("record/", self.record_view, "record"),
            self.own_path("booking/<int:pk>/", self.of_booking, "of_booking"),
            self.own_path("ticket/<int:pk>/", self.of_ticket, "of_ticket"),
            self.own_path("<int:pk>/number/", self.of_change, "number"),
            *super().get_urls(),
        ]

    def of_booking(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._of(request, Booking, pk)

    def of_change(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._of(request, ConsentChange, pk)

    def of_ticket(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._of(request, Ticket, pk)

    def record_view(self, request: HttpRequest) -> HttpResponse:
        """A wish of somebody whose number stands on no page yet."""
        if not self.may_record(request):
            raise PermissionDenied
        return self._wish(request, "", "Record an opt-out or opt-in")

    def may_record(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.add_consentchange")

    def _of(self, request: HttpRequest, model: Any, pk: int) -> HttpResponse:
        may_see = request.user.has_perm(f"bookings.view_{model.__name__.lower()}")
        if not (self.has_view_permission(request) and may_see):
            raise PermissionDenied
        if request.method == "POST" and not self.may_record(request):
            raise PermissionDenied
        row = get_object_or_404(model, pk=pk)
        msisdn = as_msisdn(row.msisdn)
        may_reveal = self.has_reveal_permission(request) and model is not Ticket
        number = number_of(row, may_reveal=may_reveal)
        return self._wish(request, msisdn, "Consent of one number", number=number, **_story(msisdn))

    def _wish(self, request: HttpRequest, msisdn: str, title: str, **context: Any) -> HttpResponse:
        """The page, then the notification whether to record it, then its recording."""
        if request.method not in {"GET", "HEAD", "POST"}:
            return HttpResponseNotAllowed(["GET", "POST"])
        form = WishForm(request.POST if request.method == "POST" else None, msisdn=msisdn)
        is_asked = form.is_bound and form.is_valid() and "change" not in request.POST
        if is_asked and request.POST.get("confirmed") == "yes":
            return self._record(request, form)
        return self.own_page(
            request,
            "consentchange/number.html",
            title,
            form=form,
            is_asked=is_asked,
            asked_about=masked(form.msisdn) if form.msisdn else "",
            is_known=bool(msisdn),
            may_record=self.may_record(request),
            **context,
        )

    def _record(self, request: HttpRequest, form: WishForm) -> HttpResponse:
        user: Any = request.user
        wish, words = form.cleaned_data["wish"], form.cleaned_data["words"]
        if consents.change_by_staff(user, form.msisdn, words, is_opted_out=wish == "out"):
            sentence = (
                "Recorded: opted out. Queued messages to this number are cancelled."
                if wish == "out"
                else "Recorded: opted in."
            )
            self.message_user(request, sentence, messages.SUCCESS)
        else:
            sentence = "No change."
            self.message_user(request, sentence, messages.INFO)
        change = ConsentChange.objects.filter(msisdn=form.msisdn).first()
        if change is None:  # nobody ever opted out: there is no page to show
            return redirect("admin:bookings_consentchange_changelist")
        return redirect("admin:bookings_consentchange_number", change.pk)


def _story(msisdn: str) -> dict[str, Any]:
    """Every change of consent, and the texts that it blocked: cancelled by it, or lost for that reason."""
    if not msisdn:
        return {"is_opted_out": False, "changes": [], "blocked": [], "replies": []}
    changes = ConsentChange.objects.filter(msisdn=msisdn).select_related(
        "user", "inbound", "receipt"
    )
    refused = DeliveryReceipt.objects.filter(
        err_code=OPTED_OUT_BY_RECEIPT, attempt__message__msisdn=msisdn
    ).values("attempt__message")
    blocked = OutboundMessage.objects.filter(msisdn=msisdn).filter(
        Q(stopped_by_opt_out=True) | Q(pk__in=refused)
    )
    untold = InboundMessage.objects.filter(msisdn=msisdn, ticket__kind=TicketKind.OPTED_OUT)
    return {
        "is_opted_out": Consent.objects.is_opted_out(msisdn),
        "changes": changes[:_SHOWN],
        "blocked": blocked.select_related("booking").order_by("-pk")[:_SHOWN],
        "replies": untold.select_related("ticket").order_by("-pk")[:_SHOWN],
    }
