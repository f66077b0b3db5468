"""The form of a booking: what staff change goes through `dispatch`, never by a plain save."""

import json
from typing import Any

from django import forms
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import get_language_info
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from bookings.admin.shared.row_versions import seen_word
from bookings.dispatch import bookings as dispatch
from bookings.dispatch import notices
from bookings.dispatch.notices import Method, News
from bookings.language import messages
from bookings.models import Booking, InboundMessage, Notification, OutboundMessage, Slot
from bookings.models.fields import mask_msisdn
from bookings.outbox.recipients import find_why_not_texted
from bookings.reporting.timeline import last_changed_by
from bookings.scheduling.capacity import with_booked

#: Saved as they are: nobody has been told of them.
_PLAIN = ("customer_name", "language", "notes")


class BookingForm(forms.ModelForm):
    """A new booking, or changes to one. `seen` says what the page showed, so that nothing is undone."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    language = forms.ChoiceField(
        label="Language", widget=UnfoldAdminSelectWidget, help_text="Language of messages."
    )
    cancelled = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Withdraws the open notification and cancels queued messages."
        " Choose below how to tell the customer.",
    )
    told = forms.ChoiceField(
        label="Tell the customer",
        choices=Method.choices,
        required=False,
        widget=UnfoldAdminSelectWidget,
    )

    #: Who sends it; set by the admin.
    user: User | AnonymousUser = AnonymousUser()
    #: Why `dispatch` refused what this form asked for; set by the admin when it shows it again.
    refused = ""

    class Meta:
        model = Booking
        fields = ["reference", "customer_name", "msisdn", "slot", "language", "notes"]
        widgets = {"notes": UnfoldAdminTextareaWidget(attrs={"rows": 2})}
        help_texts = {"msisdn": "In any usual format."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        booking = self.instance
        self.slot_was = booking.slot if booking.pk else None
        self.msisdn_was, self.was_scheduled = booking.msisdn, booking.is_scheduled
        self.initial["cancelled"] = not self.was_scheduled
        self._offer_choices()
        if booking.pk:
            self.initial["seen"] = _shown(booking)
            self._ask_for_a_new_number()
            self._offer_telling()

    def _ask_for_a_new_number(self) -> None:
        """The number it has is shown masked, so its field is empty, and left empty changes nothing."""
        number: Any = self.fields.get("msisdn")
        if number is not None:
            self.initial["msisdn"] = ""
            number.label, number.required = "New phone number", False
            number.help_text = "Leave blank to keep the current number."

    def _offer_telling(self) -> None:
        """By SMS if one reaches a customer who knows of the delivery; and what would be written, or why nothing."""
        told: Any = self.fields["told"]
        ways, reason = notices.methods_for(self.user), find_why_not_texted(self.instance.msisdn)
        told.choices = [(way.value, way.label) for way in ways]
        is_by_sms = Method.SMS in ways and self._has_heard and not reason
        self.initial["told"] = Method.SMS if is_by_sms else Method.NOBODY
        told.help_text = reason or f"Message: {notices.example_notice(self.instance)}"

    def _offer_choices(self) -> None:
        """Which slots and languages can be chosen. Who may only look has no such fields."""
        slots: Any = self.fields.get("slot")
        if slots is not None:
            slots.queryset = _choosable(self.slot_was)
            slots.label_from_instance = _slot_and_load
        languages: Any = self.fields.get("language")
        if languages is not None:
            codes = {*messages.languages(), self.instance.language}
            languages.choices = [(code, _language_name(code)) for code in sorted(codes)]
            languages.initial = self.instance.language

    def clean_msisdn(self) -> str:
        msisdn: str = self.cleaned_data["msisdn"] or self.msisdn_was
        return msisdn

    def clean(self) -> dict[str, Any]:
        super().clean()
        seen = self.cleaned_data.get("seen")
        is_stale = self.instance.pk and seen != self.initial["seen"]
        if is_stale and not self._is_done_already:
            self.add_error(
                None,
                f"This booking changed while you had it open: it is now {self._stands}."
                " Reload and check.",
            )
        if self.refused:
            self.add_error(None, self.refused)
        if "msisdn" in self.cleaned_data and "slot" in self.cleaned_data:
            self._check_telling()
        return self.cleaned_data

    @property
    def _stands(self) -> str:
        return f"on {self.slot_was}" if self.was_scheduled else "cancelled"

    @property
    def _is_done_already(self) -> bool:
        """What it asks for is so, by this person, and the customer was told so: it was sent twice."""
        is_whole = {"slot", "msisdn"} <= self.cleaned_data.keys()
        is_so = is_whole and not self.is_changed and not {*_PLAIN} & {*self.changed_data}
        is_by_them = is_so and self.user.pk == last_changed_by(self.instance)
        return is_by_them and notices.was_informed(self.instance, self.telling, self.user)

    def _check_telling(self) -> None:
        msisdn, is_by_sms = self.cleaned_data["msisdn"], self.telling in (Method.SMS, Method.ASK)
        if not self.instance.pk or not self.is_changed or not is_by_sms:
            return
        if reason := find_why_not_texted(msisdn):
            self.add_error("told", f"{reason} Choose another way to tell them.")
        elif self.telling == Method.ASK and self._is_cancelled:
            self.add_error("told", "A cancelled delivery cannot be notified about.")

    @property
    def telling(self) -> Method:
        """How the customer learns of it; a page that does not say so tells nobody."""
        return Method(self.cleaned_data.get("told") or Method.NOBODY)

    @property
    def _is_moved(self) -> bool:
        return bool(self.cleaned_data["slot"] != self.slot_was)

    @property
    def _is_phone_changed(self) -> bool:
        return bool(self.cleaned_data["msisdn"] != self.msisdn_was)

    @property
    def _is_cancelled(self) -> bool:
        return bool(self.cleaned_data["cancelled"])

    @property
    def is_changed(self) -> bool:
        """Return True if something changed that matters to the customer."""
        return self._is_moved or self._is_phone_changed or self._is_cancelled == self.was_scheduled

    @property
    def _has_heard(self) -> bool:
        """Return True if the customer was asked or told anything about it, or wrote."""
        of_it = {"booking": self.instance.pk}
        heard = OutboundMessage.objects.filter(**of_it), InboundMessage.objects.filter(**of_it)
        return any(rows.exists() for rows in (*heard, Notification.objects.filter(**of_it)))

    @property
    def is_to_be_told(self) -> bool:
        """Return True if something changed that a customer who was asked, or wrote, does not know yet."""
        return self.is_changed and self.telling == Method.NOBODY and self._has_heard

    def not_told(self) -> str:
        """What staff are to do about it."""
        phone = mask_msisdn(self.cleaned_data["msisdn"])
        notify_again = "" if self._is_cancelled else " or notify again"
        return f"The customer was not told: call {phone}{notify_again}."

    def said(self) -> str:
        """What was changed, in sentences, for the log. Moves and cancellations are recorded by dispatch."""
        before, after = mask_msisdn(self.msisdn_was), mask_msisdn(self.cleaned_data["msisdn"])
        labels = [str(self.fields[name].label) for name in _PLAIN if name in self.changed_data]
        sentences = [
            (bool(labels), f"Changed: {', '.join(labels)}."),
            (self._is_phone_changed, f"Phone number changed from {before} to {after}."),
        ]
        return " ".join(sentence for is_so, sentence in sentences if is_so)

    def book(self) -> Booking:
        """Store the new booking. Raises CannotBook."""
        fields = (*_PLAIN, "reference", "msisdn", "slot")
        return dispatch.book(**{name: self.cleaned_data[name] for name in fields})

    def carry_out(self, user: User) -> None:
        """Do what was changed and tell the customer, in the transaction of the caller.

        Raises CannotBook and CannotTell.
        """
        booking: Booking = self.instance
        booking.save(update_fields=[name for name in _PLAIN if name in self.changed_data])
        if self._is_moved:
            dispatch.move(booking, self.cleaned_data["slot"], user=user)
        if self._is_phone_changed:
            dispatch.change_phone(booking, self.cleaned_data["msisdn"])
        if self._is_cancelled and self.was_scheduled:
            dispatch.cancel(booking, user=user)
        if not self._is_cancelled and not self.was_scheduled:
            dispatch.reinstate(booking, user=user)
        if self.is_changed:
            news = News.MOVED if self._is_moved else News.PLANNED
            notices.inform(booking, self.telling, user, news=news)


def _shown(booking: Booking) -> str:
    """How the page showed it, with what a plain save would write back: nothing of that is undone either."""
    plain = json.dumps([getattr(booking, name) for name in _PLAIN])
    return salted_hmac("bookings.admin.bookings.form", seen_word(booking) + plain).hexdigest()


def _choosable(current: Slot | None) -> Any:
    """Slots of today and later, and the one it is in."""
    lies_ahead = Q(date__gte=timezone.localdate())
    slots = Slot.objects.filter(lies_ahead | Q(pk=current.pk) if current else lies_ahead)
    return with_booked(slots).order_by("date", "window_start", "place")


def _language_name(code: str) -> str:
    try:
        return str(get_language_info(code)["name"])
    except KeyError:
        return code


def _slot_and_load(slot: Any) -> str:
    if slot.capacity == 0:
        return f"{slot} (closed)"
    of = "" if slot.capacity is None else f" of {slot.capacity}"
    return f"{slot} ({slot.load_now}{of} booked)"
