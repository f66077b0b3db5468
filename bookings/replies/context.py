"""What one customer has been asked, as far as a reply can mean it."""

import datetime as dt
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from django.db.models import Max
from django.utils import timezone

from bookings.models import (
    Booking,
    Consent,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    Place,
    SlotOption,
)
from bookings.models.inbound import CHOSEN
from bookings.models.outbound import OutboundMessageQuerySet
from bookings.replies.parser import Choice, Reply, Words

#: Enough for the last notifications behind all nine digits; older ones mean nothing to anybody.
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
    asked_at: dt.datetime  # when its text left us
    answered_at: dt.datetime | None = None  # when a valid choice was last made in this notification

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

    @property
    def closes_at(self) -> dt.datetime:
        """Until when the notification can be answered: the slot that the booking is in must be left in time, too."""
        return min(self.notification.closes_at, self.booking.slot.cutoff_at)

    def fits(self, words: Words, today: dt.date) -> bool:
        """Whether everything that the words say was printed for this option. "tomorrow" holds on its day only."""
        slot = self.option.slot
        if words.place is not None:
            return words.place == slot.place
        if slot.place == Place.POST_OFFICE and slot.date == self.notification.slot.date:
            return False  # its date was not printed
        is_same_day = today == timezone.localdate(self.asked_at)
        relative = {"today": today, "tomorrow": today + dt.timedelta(days=1)}
        said = (
            words.relative is None or (is_same_day and slot.date == relative[words.relative]),
            words.weekday in {None, slot.date.weekday()},
            words.day in {None, slot.date.day},
            words.month in {None, slot.date.month},
            words.window in {None, slot.window},
        )
        return all(said)


@dataclass(frozen=True, kw_only=True)
class Customer:
    """Everything about one number that the rule may look at."""

    msisdn: str
    printed: tuple[Printed, ...]  # for each digit the latest one
    newest_booking: Booking
    is_opted_out: bool = False
    was_prompted: bool = False  # the options were repeated since the latest open notification
    answers_in_a_row: int = 0  # automatic answers in 24 hours since the last valid choice

    @property
    def language(self) -> str:
        return self.newest_booking.language

    @cached_property
    def open_options(self) -> tuple[Printed, ...]:
        return tuple(option for option in self.printed if option.standing == Standing.OPEN)

    @property
    def has_chosen(self) -> bool:
        """A valid choice came in since the latest open notification was asked."""
        asked_at = latest_asked_at(self.open_options)
        chosen_at = [option.answered_at for option in self.open_options if option.answered_at]
        return asked_at is not None and bool(chosen_at) and max(chosen_at) >= asked_at

    @property
    def open_notifications(self) -> tuple[Printed, ...]:
        """One option of each open notification."""
        return tuple({option.notification.pk: option for option in self.open_options}.values())

    @property
    def latest(self) -> Printed | None:
        """One option of the notification that was asked last: an open one, if there is any."""
        options = self.open_options or self.printed
        return max(options, key=lambda option: option.notification.pk, default=None)

    def find_meant(self, reply: Reply, today: dt.date) -> Printed | None:
        """The option that a reply stands for, or None.

        A digit means the latest notification that printed it, open or not. Words must fit exactly one open option.
        """
        match reply:
            case Choice(number=number, words=words):
                fitting = [line for line in self.printed if line.option.digit == number]
                if words is not None:
                    fitting = [line for line in fitting if line.fits(words, today)]
            case Words():
                fitting = [line for line in self.open_options if line.fits(reply, today)]
            case _:
                return None
        return fitting[0] if len(fitting) == 1 else None


def load_customer(msisdn: str, now: dt.datetime) -> Customer | None:
    """Look up a number (E.164 digits); None if it has nothing to do with us. The caller has locked the customer."""
    newest_booking = _newest_booking(msisdn)
    if newest_booking is None:
        return None
    options = _latest_options(msisdn)
    answered = _answered(options)
    printed = tuple(
        Printed(
            option=option,
            standing=standing_of(option, now),
            asked_at=option.notification.handed_over_at or now,
            answered_at=answered.get(option.notification_id),
        )
        for option in options
    )
    return Customer(
        msisdn=msisdn,
        printed=printed,
        newest_booking=newest_booking,
        is_opted_out=Consent.objects.is_opted_out(msisdn),
        was_prompted=_was_prompted(msisdn, printed),
        answers_in_a_row=_answers_in_a_row(msisdn, now),
    )


def latest_asked_at(printed: Iterable[Printed]) -> dt.datetime | None:
    """When the latest of these was asked."""
    return max((option.asked_at for option in printed), default=None)


def _latest_options(msisdn: str) -> list[SlotOption]:
    """For each digit the option of the latest handed-over notification that printed it, by digit."""
    read = (
        SlotOption.objects.filter(msisdn=msisdn, notification__handed_over_at__isnull=False)
        .select_related("slot", "notification__slot", "notification__booking__slot")
        .order_by("-notification__handed_over_at", "-pk")[:_LATEST_OPTIONS]
    )
    by_digit: dict[int, SlotOption] = {}
    for option in read:
        by_digit.setdefault(option.digit, option)
    return [by_digit[digit] for digit in sorted(by_digit)]


def standing_of(option: SlotOption, now: dt.datetime) -> Standing:
    notification, booking = option.notification, option.notification.booking
    if not booking.is_scheduled or booking.slot.ends_at <= now:
        return Standing.CLOSED
    if notification.state == NotificationState.WITHDRAWN:
        return Standing.CLOSED
    if not notification.is_open_at(now):
        return Standing.LATE
    # The slot it is in can no longer be left, or the other no longer be chosen.
    is_late = min(booking.slot.cutoff_at, option.slot.cutoff_at) <= now
    return Standing.LATE if is_late else Standing.OPEN


def _answered(options: list[SlotOption]) -> dict[int, dt.datetime]:
    """When a valid choice was last made in the notifications of these options, by the id of the notification."""
    asked = {option.notification_id for option in options}
    chosen = InboundMessage.objects.filter(notification__in=asked, outcome__in=CHOSEN)
    return dict(chosen.values_list("notification").annotate(Max("received_at")))


def _newest_booking(msisdn: str) -> Booking | None:
    booking = Booking.objects.filter(msisdn=msisdn).order_by("-pk").first()
    if booking is not None:
        return booking
    asked = (
        Notification.objects.filter(msisdn=msisdn).select_related("booking").order_by("-pk").first()
    )
    return asked.booking if asked else None


def _was_prompted(msisdn: str, printed: tuple[Printed, ...]) -> bool:
    asked_at = latest_asked_at(option for option in printed if option.standing == Standing.OPEN)
    prompts = _automatic_answers(msisdn).filter(kind=Kind.RE_PROMPT)
    return asked_at is not None and prompts.filter(queued_at__gte=asked_at).exists()


def _automatic_answers(msisdn: str) -> OutboundMessageQuerySet:
    """What this number was told by our rule. STOP, START and HELP stand outside."""
    answers = OutboundMessage.objects.filter(
        msisdn=msisdn, kind__in=[Kind.ACKNOWLEDGEMENT, Kind.RE_PROMPT], in_reply_to__isnull=False
    )
    return answers.exclude(state=MessageState.CANCELLED).exclude(
        in_reply_to__outcome=Outcome.OPTED_IN
    )


def _answers_in_a_row(msisdn: str, now: dt.datetime) -> int:
    since = now - dt.timedelta(hours=24)
    choices = InboundMessage.objects.filter(
        msisdn=msisdn, outcome__in=CHOSEN, received_at__gt=since
    )
    latest_choice = choices.order_by("-received_at").values_list("received_at", flat=True).first()
    answers = _automatic_answers(msisdn).filter(queued_at__gt=latest_choice or since)
    # The answer to the choice itself is queued after it came in.
    return answers.exclude(in_reply_to__outcome__in=CHOSEN).count()
