"""The notify form: what staff type, checked and turned into a booking."""

import datetime as dt
import hashlib
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.formats import date_format
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from bookings.models import Booking, Place, Slot
from bookings.models.fields import check_reference, parse_msisdn
from bookings.scheduling.capacity import count_booked_each, fits, has_room
from bookings.web.form_tokens import new_nonce

ANOTHER_DAY = "another"
SLOTS_SHOWN = 100
_INPUT = " ".join(INPUT_CLASSES)
_LONGEST_ID = 19  # digits that any database can look up
LONGEST_AHEAD = dt.timedelta(days=365)
_UNMISTAKABLE = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # read over the phone without doubt


def reference_for(nonce: str) -> str:
    """Return a generated booking reference such as `N-7K3QX2`.

    The same form always gets the same reference, so that its preview shows what is sent.
    """
    digest = hashlib.sha256(nonce.encode()).digest()
    return "N-" + "".join(_UNMISTAKABLE[byte % len(_UNMISTAKABLE)] for byte in digest[:6])


class NotifyForm(forms.Form):
    """A new delivery and its customer."""

    use_required_attribute = False  # the preview button posts what is there so far

    nonce = forms.CharField(
        max_length=64,
        error_messages={
            "required": "This form had no number of its own, so nothing was sent. Send it now.",
            "max_length": "This form's own number is too long, so nothing was sent. Send it now.",
        },
        widget=forms.HiddenInput(attrs={"autocomplete": "off"}),
    )
    number = forms.CharField(
        label="Phone number",
        max_length=40,
        error_messages={"required": "Enter the customer's phone number."},
        widget=UnfoldAdminTextInputWidget(
            attrs={"type": "tel", "autocomplete": "off", "autofocus": True}
        ),
    )
    name = forms.CharField(
        max_length=120,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )
    reference = forms.CharField(
        max_length=40,
        required=False,
        help_text="Printed in the text. Leave blank to generate one.",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    slot = forms.CharField(
        label="Delivery slot",
        max_length=20,
        error_messages={"required": "Choose a slot."},
        widget=UnfoldAdminSelectWidget(),
    )
    date = forms.DateField(
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", "class": _INPUT}),
    )
    window_start = forms.TimeField(
        label="From",
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time", "class": _INPUT}),
    )
    window_end = forms.TimeField(
        label="To",
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time", "class": _INPUT}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        choices = coming_slots()
        widget = self.fields["slot"].widget
        widget.choices = [*choices, (ANOTHER_DAY, "Another day or window ...")]
        self.initial.setdefault("slot", choices[0][0] if choices else ANOTHER_DAY)

    def clean_number(self) -> str:
        return parse_msisdn(self.cleaned_data["number"])

    def clean_reference(self) -> str:
        nonce = self.cleaned_data.get("nonce", "")  # cleaned before, since it stands first
        reference = self.cleaned_data["reference"] or reference_for(nonce)
        check_reference(reference)
        if Booking.objects.filter(reference=reference).exists():
            raise ValidationError(f"A booking with the reference {reference} already exists.")
        return str(reference)

    def clean(self) -> dict[str, Any]:
        choice = self.cleaned_data.get("slot")
        if choice is not None:
            field = "date" if choice == ANOTHER_DAY else "slot"
            try:
                slot = self._other_slot() if choice == ANOTHER_DAY else _stored_slot(choice)
                _check_time(slot)
                self.cleaned_data["slot"] = slot
            except ValidationError as error:
                self.add_error(field, error)
        return self.cleaned_data

    def booking(self) -> Booking:
        """Return the unsaved booking that the valid fields describe. Its slot can be unsaved, too."""
        return Booking(
            reference=self.cleaned_data["reference"],
            customer_name=self.cleaned_data["name"],
            msisdn=self.cleaned_data["number"],
            slot=self.cleaned_data["slot"],
        )

    @property
    def idempotency_key(self) -> str:
        """Return the key that makes repeated posts of this form send one notification."""
        return f"form:{self.cleaned_data['nonce']}"

    def renew_bad_nonce(self) -> None:
        """Replace a missing or invalid nonce, so that the form can be sent again."""
        if "nonce" in self.errors:
            self.data = dict(self.data.items()) | {"nonce": new_nonce()}

    def _other_slot(self) -> Slot:
        names = ("date", "window_start", "window_end")
        if any(name in self.errors for name in names):
            raise ValidationError("Check the day and its window.")
        date, start, end = (self.cleaned_data.get(name) for name in names)
        if date is None or start is None or end is None:
            raise ValidationError("Enter the day, and the window's start and end.")
        if end <= start:
            raise ValidationError("The window must end after it starts.")
        key = {"place": Place.DOOR, "date": date, "window_start": start, "window_end": end}
        stored = Slot.objects.filter(**key).first()
        return _with_room(stored) if stored else Slot(**key)


def coming_slots() -> list[tuple[str, str]]:
    """Return the next door slots that have room and are before their cut-off, as (id, label)."""
    now = timezone.now()
    slots = Slot.objects.filter(place=Place.DOOR).exclude(capacity=0)
    coming = [
        slot
        for slot in slots.from_day(timezone.localdate(now))[: 2 * SLOTS_SHOWN]
        if slot.cutoff_at > now
    ]
    booked = count_booked_each(coming)
    return [
        (str(slot.pk), _slot_words(slot, booked.get(slot.pk, 0)))
        for slot in coming
        if fits(slot.capacity, booked.get(slot.pk, 0))
    ][:SLOTS_SHOWN]


def _slot_words(slot: Slot, taken: int) -> str:
    words = f"{date_format(slot.date, 'D j M')}, {slot.window}"
    return words if slot.capacity is None else f"{words} ({slot.capacity - taken} free)"


def _stored_slot(choice: str) -> Slot:
    is_id = choice.isascii() and choice.isdecimal() and len(choice) < _LONGEST_ID
    slot = Slot.objects.filter(pk=int(choice)).first() if is_id else None
    if slot is None:
        raise ValidationError("There is no such slot any more. Choose another.")
    return _with_room(slot)


def _with_room(slot: Slot) -> Slot:
    """Raise ValidationError if the slot is full. Booking locks the slot and checks again."""
    if not has_room(slot):
        raise ValidationError("This slot is full. Choose another.")
    return slot


def _check_time(slot: Slot) -> None:
    if slot.date > timezone.localdate() + LONGEST_AHEAD:
        raise ValidationError("That is more than a year ahead.")
    if slot.date < timezone.localdate() or slot.cutoff_at <= timezone.now():
        raise ValidationError("It is too late for this slot: its cut-off has passed.")
