"""What one customer has been asked, as far as a reply can mean it."""

import datetime as dt
import enum
from dataclasses import dataclass
from functools import cached_property

from django.utils import timezone

from bookings.models import (
    Booking,
    Consent,
    InboundMessage,
    Kind,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    Place,
    SlotOption,
)
from bookings.models.messages import CHOSEN
from bookings.replies import Words

#: Enough for the last questions behind all nine digits; older ones mean nothing to anybody.
_LATEST_OPTIONS = 60


class Standing(enum.StrEnum):
    """Whether a printed option can still be chosen."""

    OPEN = "open"
    LATE = "late"  # its time is over
    CLOSED = "closed"  # withdrawn, or the delivery is cancelled or past


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """An option that a customer has read in a text of ours."""

    option: SlotOption
    standing: Standing
    was_answered: bool  # a valid choice was made in this question before
    asked_on: dt.date  # the local day on which its text left

    @property
    def notification(self) -> Notification:
        return self.option.notification

    @property
    def booking(self) -> Booking:
        return self.option.notification.booking

    @property
    def is_present(self) -> bool:
        """The booking is in this slot now."""
        return self.booking.slot_id == self.option.slot_id

    def fits(self, words: Words, today: dt.date) -> bool:
        """Whether everything that the words say was printed for this option. "tomorrow" holds on its day only."""
        slot = self.option.slot
        if words.place is not None:
            return words.place == slot.place
        if slot.place == Place.POST_OFFICE and slot.date == self.notification.slot.date:
            return False  # its date was not printed
        relative = {"today": today, "tomorrow": today + dt.timedelta(days=1)}
        said = (
            words.relative is None
            or (today == self.asked_on and slot.date == relative[words.relative]),
            words.weekday in {None, slot.date.weekday()},
            words.day in {None, slot.date.day},
            words.month in {None, slot.date.month},
        )
        return all(said)


@dataclass(frozen=True, kw_only=True)
class Customer:
    """Everything about one number that the rule may look at."""

    msisdn: str
    printed: tuple[Printed, ...]  # for each digit the latest one
    latest_booking: Booking | None
    is_opted_out: bool
    was_prompted: bool  # the options of an open question were repeated already
    answers_in_a_row: int  # automatic answers in 24 hours since the last valid choice

    @property
    def is_known(self) -> bool:
        return self.latest_booking is not None

    @property
    def language(self) -> str:
        return self.latest_booking.language if self.latest_booking else "en"

    @cached_property
    def open_options(self) -> tuple[Printed, ...]:
        return tuple(option for option in self.printed if option.standing == Standing.OPEN)

    @property
    def has_chosen(self) -> bool:
        """Every open question has had a valid answer."""
        return all(option.was_answered for option in self.open_options)

    @property
    def latest(self) -> Printed | None:
        """One option of the question that was asked last: an open one, if there is any."""
        options = self.open_options or self.printed
        return max(options, key=lambda option: option.notification.pk, default=None)

    def printed_as(self, digit: int) -> Printed | None:
        return next((option for option in self.printed if option.option.digit == digit), None)


def load_customer(msisdn: str, now: dt.datetime) -> Customer:
    """Look up a number (E.164 digits). The caller has locked the customer."""
    options = _latest_options(msisdn)
    answered = _answered(options)
    printed = tuple(
        Printed(
            option=option,
            standing=_standing(option, now),
            was_answered=option.notification_id in answered,
            asked_on=timezone.localdate(option.notification.handed_over_at),
        )
        for option in options
    )
    return Customer(
        msisdn=msisdn,
        printed=printed,
        latest_booking=_latest_booking(msisdn),
        is_opted_out=Consent.objects.is_opted_out(msisdn),
        was_prompted=_was_prompted(printed),
        answers_in_a_row=_answers_in_a_row(msisdn, now),
    )


def _latest_options(msisdn: str) -> list[SlotOption]:
    """For each digit the option of the latest handed-over question that printed it, by digit."""
    read = (
        SlotOption.objects.filter(msisdn=msisdn, notification__handed_over_at__isnull=False)
        .select_related("slot", "notification__slot", "notification__booking__slot")
        .order_by("-notification__handed_over_at", "-pk")[:_LATEST_OPTIONS]
    )
    by_digit: dict[int, SlotOption] = {}
    for option in read:
        by_digit.setdefault(option.digit, option)
    return [by_digit[digit] for digit in sorted(by_digit)]


def _standing(option: SlotOption, now: dt.datetime) -> Standing:
    notification, booking = option.notification, option.notification.booking
    if not booking.is_scheduled or booking.slot.ends_at <= now:
        return Standing.CLOSED
    if notification.state == NotificationState.WITHDRAWN:
        return Standing.CLOSED
    if not notification.is_open_at(now) or option.slot.cutoff_at <= now:
        return Standing.LATE
    return Standing.OPEN


def _answered(options: list[SlotOption]) -> set[int]:
    asked = {option.notification_id for option in options}
    chosen = InboundMessage.objects.filter(notification__in=asked, outcome__in=CHOSEN)
    return set(chosen.values_list("notification_id", flat=True))


def _latest_booking(msisdn: str) -> Booking | None:
    booking = Booking.objects.filter(msisdn=msisdn).order_by("-pk").first()
    if booking is not None:
        return booking
    asked = (
        Notification.objects.filter(msisdn=msisdn).select_related("booking").order_by("-pk").first()
    )
    return asked.booking if asked else None


def _was_prompted(printed: tuple[Printed, ...]) -> bool:
    open_ids = {option.notification.pk for option in printed if option.standing == Standing.OPEN}
    return OutboundMessage.objects.filter(kind=Kind.RE_PROMPT, notification__in=open_ids).exists()


def _answers_in_a_row(msisdn: str, now: dt.datetime) -> int:
    since = now - dt.timedelta(hours=24)
    choices = InboundMessage.objects.filter(
        msisdn=msisdn, outcome__in=CHOSEN, received_at__gt=since
    )
    latest_choice = choices.order_by("-received_at").values_list("received_at", flat=True).first()
    answers = OutboundMessage.objects.filter(
        msisdn=msisdn,
        kind__in=[Kind.ACKNOWLEDGEMENT, Kind.RE_PROMPT],
        in_reply_to__isnull=False,
        queued_at__gt=latest_choice or since,
    )
    # The answer to the choice itself is queued after it came in.
    outside = [*CHOSEN, Outcome.OPTED_IN]
    return answers.exclude(in_reply_to__outcome__in=outside).count()
