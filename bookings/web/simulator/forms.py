"""The forms of a simulated phone: a reply, and how the phone behaves."""

from django import forms
from unfold.widgets import UnfoldBooleanSwitchWidget

from bookings.models import SimulatedPhone


class ReplyForm(forms.Form):
    """A text that the customer sends, 1 to 160 characters."""

    text = forms.CharField(max_length=160)


class SwitchesForm(forms.ModelForm):
    """The settings of a simulated phone."""

    class Meta:
        model = SimulatedPhone
        labels = {
            "stays_silent": "No delivery receipts",
            "fails": "Delivery fails",
            "sends_twice": "Every reply arrives twice",
            "replies_late": "Replies arrive late",
            "splits": "Replies arrive as several parts, out of order",
        }
        fields = list(labels)
        widgets = dict.fromkeys(labels, UnfoldBooleanSwitchWidget)
