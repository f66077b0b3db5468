"""Everything that the rule may look at for one reply, loaded in one go under the customer's locks."""

import datetime as dt
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from django.conf import settings
from django.db.models import Count, Max
from django.utils import timezone

from bookings.language.tokens import DEFAULT_LANGUAGE
from bookings.models import (
    Booking,
    ChangeCause,
    Consent,
    InboundMessage,
    Kind,
    MessageState,
    Notification,
    NotificationState,
    OutboundMessage,
    Outcome,
    Place,
    Slot,
    SlotChange,
    SlotOption,
    lock_customer,
)
from bookings.models.fields import as_msisdn
from bookings.models.inbound import CHOSEN
from bookings.models.outbound import OutboundMessageQuerySet
from bookings.replies.multipart import LongText, load_long_text
from bookings.replies.parser import Choice, NotUnderstood, Reply, Words, parse_reply
from bookings.scheduling import offers

#: Enough for the latest notifications behind all nine digits.
_LATEST_OPTIONS = 60

#: Earlier texts of the same number that are loaded: as many as the flood rule counts.
_EARLIER_TEXTS = 60

#: Moves of a booking by replies are counted for this time.
MOVES_WITHIN = dt.timedelta(minutes=10)

#: Automatic answers are counted for this time.
_ANSWERS_WITHIN = dt.timedelta(hours=24)


class Standing(enum.StrEnum):
    """The states of a printed option: only an open one can be chosen."""

    OPEN = "open"
    LATE = "late"  # its time is over
    CLOSED = "closed"  # withdrawn, or the delivery is cancelled or past


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedOption:
    """An option that the customer has read in a notification."""

    option: SlotOption
    standing: Standing
    asked_at: dt.datetime  # when the notification was handed over
    answered_at: dt.datetime | None = None  # when its latest valid choice came in
    has_room: bool = False  # its slot, for the booking, counted without the booking itself

    @property
    def notification(self) -> Notification:
        """The notification that printed the option."""
        return self.option.notification

    @property
    def booking(self) -> Booking:
        """The booking that the notification is about."""
        return self.option.notification.booking

    @property
    def is_open(self) -> bool:
        """Return True if the option can be chosen now."""
        return self.standing == Standing.OPEN

    @property
    def is_present(self) -> bool:
        """Return True if the booking is in the option's slot now."""
        return self.booking.slot_id == self.option.slot_id

    @property
    def closes_at(self) -> dt.datetime:
        """The end of the time to answer: also the slot that the booking is in must be left in time."""
        return self.closes_in(self.booking.slot)

    def closes_in(self, slot: Slot) -> dt.datetime:
        """Return the end of the time to answer once the booking is in `slot`."""
        return min(self.notification.closes_at, slot.cutoff_at)

    def fits(self, words: Words, today: dt.date) -> bool:
        """Return True if everything that the words say was printed for this option.

        "today" and "tomorrow" are true only on the day of the notification.
        """
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
    """The notifications to one number, and its answers to them."""

    msisdn: str
    printed: tuple[PrintedOption, ...]  # for each digit the latest option
    newest_booking: Booking
    is_opted_out: bool = False
    was_prompted: bool = False  # the options were repeated since the latest open notification
    answers_in_a_row: int = 0  # automatic answers in 24 hours since the last valid choice

    @property
    def language(self) -> str:
        """The language of the customer's newest booking."""
        return self.newest_booking.language

    @cached_property
    def open_options(self) -> tuple[PrintedOption, ...]:
        """The options that can be chosen now, by digit."""
        return tuple(option for option in self.printed if option.is_open)

    @property
    def open_notifications(self) -> tuple[PrintedOption, ...]:
        """One option of each open notification."""
        return tuple({option.notification.pk: option for option in self.open_options}.values())

    @property
    def has_chosen(self) -> bool:
        """Return True if a valid choice came in since the latest open notification was asked."""
        asked_at = latest_asked_at(self.open_options)
        chosen_at = [option.answered_at for option in self.open_options if option.answered_at]
        return asked_at is not None and bool(chosen_at) and max(chosen_at) >= asked_at

    @property
    def latest(self) -> PrintedOption | None:
        """One option of the notification that was asked last: an open one if there is any."""
        options = self.open_options or self.printed
        return max(options, key=lambda option: option.notification.pk, default=None)

    def remaining(self, notification: Notification, booked: Slot) -> list[SlotOption]:
        """Return the options of an open notification that can be had by a booking that is in the slot `booked`."""
        return [
            line.option
            for line in self.open_options
            if line.notification.pk == notification.pk
            and (line.has_room or line.option.slot_id == booked.pk)
        ]

    def find_meant(self, reply: Reply, today: dt.date) -> PrintedOption | None:
        """Return the option that a reply stands for, or None.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierText:
    """A text that the same number sent before."""

    received_at: dt.datetime
    text: str
    virtual_number: str
    is_part: bool
    rule: str  # which rule read it


@dataclass(frozen=True, kw_only=True)
class ReplyContext:
    """One text and everything that decides what it comes to. Nothing in it changes."""

    now: dt.datetime
    text: str
    reply: Reply  # the whole text as the parser reads it, before any doubt about it
    type: str = "text"
    virtual_number: str = ""
    received_at: dt.datetime
    is_from_a_phone: bool = True  # of a customer: no name, no short code, no number of ours
    is_to_us: bool = True
    is_replayed: bool = False  # our software failed on it before
    long_text: LongText | None = None  # for a part
    earlier: tuple[EarlierText, ...] = ()  # the latest, of the same number
    customer: Customer | None = None  # None: the number has nothing to do with us
    told_closed: frozenset[int] = frozenset()  # bookings whose customer was told that it is closed
    moves: Mapping[int, int] = field(default_factory=dict)  # by replies in ten minutes, by booking

    @property
    def today(self) -> dt.date:
        """The day in the company's zone."""
        return timezone.localdate(self.now)

    def find_meant(self, reply: Reply) -> PrintedOption | None:
        """Return the option that a reply of this customer stands for today, or None."""
        return self.customer.find_meant(reply, self.today) if self.customer else None


def load(inbound: InboundMessage, now: dt.datetime) -> ReplyContext:
    """Take every lock that the reply needs, and read every fact that the rule may ask.

    1. Lock the customer: open notifications, then bookings. Then the other parts of a long text.
    2. Read what the number was asked, answered and told.
    3. Lock the slots between which the text can move a booking; only then count their room.
    """
    msisdn = as_msisdn(inbound.msisdn)
    lock_customer(msisdn)
    customer = _read_customer(msisdn, now)
    long_text = load_long_text(inbound)
    context = ReplyContext(
        now=now,
        text=inbound.text,
        reply=_parse(inbound, long_text, customer),
        type=inbound.type,
        virtual_number=inbound.virtual_number,
        received_at=inbound.received_at,
        is_from_a_phone=bool(msisdn) and msisdn not in settings.VONAGE_NUMBERS,
        is_to_us=as_msisdn(inbound.virtual_number) in settings.VONAGE_NUMBERS,
        is_replayed=inbound.outcome == Outcome.ERROR,
        long_text=long_text,
        earlier=_earlier_texts(inbound),
        customer=customer,
    )
    _lock_slots(context)
    return _with_bookings(context)


def glance(msisdn: str, now: dt.datetime) -> ReplyContext:
    """Return the context of a text that nobody has sent: nothing is stored or locked, so nobody may act on it."""
    customer = _read_customer(msisdn, now)
    nothing = NotUnderstood("no text")
    context = ReplyContext(now=now, text="", reply=nothing, received_at=now, customer=customer)
    return _with_bookings(context)


def load_customer(msisdn: str, now: dt.datetime) -> Customer | None:
    """Read what a number (E.164 digits) was asked and answered; None if it has nothing to do with us.

    The caller has locked the customer.
    """
    customer = _read_customer(msisdn, now)
    return _with_room(customer) if customer else None


def latest_asked_at(printed: Iterable[PrintedOption]) -> dt.datetime | None:
    """Return when the latest of these options was asked."""
    return max((option.asked_at for option in printed), default=None)


def _parse(inbound: InboundMessage, long_text: LongText | None, customer: Customer | None) -> Reply:
    if inbound.type == "binary":
        return NotUnderstood("not a text", rule="not a text")
    said = (long_text.whole if long_text else None) or inbound.text
    return parse_reply(said, customer.language if customer else DEFAULT_LANGUAGE)


def _lock_slots(context: ReplyContext) -> None:
    """Lock the slot that the booking is in and the slot that the text may move it to.

    Why only these: a STOP or a "1" must not wait for whoever holds a slot.
    """
    meant = context.find_meant(context.reply)
    if meant is not None and meant.is_open and not meant.is_present:
        slots = Slot.objects.filter(pk__in=[meant.option.slot_id, meant.booking.slot_id])
        list(slots.locked())


def _with_bookings(context: ReplyContext) -> ReplyContext:
    """Add what is counted for each booking: room in the slots, moves, and answers that it is closed."""
    customer = context.customer
    if customer is None:
        return context
    return replace(
        context,
        customer=_with_room(customer),
        told_closed=_told_closed(customer),
        moves=_count_moves(customer, context.now),
    )


def _with_room(customer: Customer) -> Customer:
    """Add which open options have room, counted for the booking of each."""
    free: set[tuple[int, int]] = set()
    for one in customer.open_notifications:
        lines = (line for line in customer.open_options if line.notification == one.notification)
        slots = Slot.objects.filter(pk__in=[line.option.slot_id for line in lines])
        free |= {
            (one.notification.pk, slot.pk) for slot in offers.free_slots(list(slots), one.booking)
        }
    printed = tuple(
        replace(line, has_room=(line.notification.pk, line.option.slot_id) in free)
        for line in customer.printed
    )
    return replace(customer, printed=printed)


def _read_customer(msisdn: str, now: dt.datetime) -> Customer | None:
    newest_booking = _newest_booking(msisdn)
    if newest_booking is None:
        return None
    options = _latest_options(msisdn)
    answered = _answered(options)
    printed = tuple(
        PrintedOption(
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


def _newest_booking(msisdn: str) -> Booking | None:
    booking = Booking.objects.filter(msisdn=msisdn).order_by("-pk").first()
    if booking is not None:
        return booking
    asked = (
        Notification.objects.filter(msisdn=msisdn).select_related("booking").order_by("-pk").first()
    )
    return asked.booking if asked else None


def _latest_options(msisdn: str) -> list[SlotOption]:
    """Return for each digit the option of the latest handed-over notification that printed it, by digit."""
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
    """Return whether a printed option can still be chosen at a moment."""
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
    """Return when the latest valid choice came in, by the id of the notification."""
    asked = {option.notification_id for option in options}
    chosen = InboundMessage.objects.filter(notification__in=asked, outcome__in=CHOSEN)
    return dict(chosen.values_list("notification").annotate(Max("received_at")))


def _earlier_texts(inbound: InboundMessage) -> tuple[EarlierText, ...]:
    before = InboundMessage.objects.filter(msisdn=inbound.msisdn, pk__lt=inbound.pk)
    columns = ("received_at", "text", "virtual_number", "part_number", "rule")
    return tuple(
        EarlierText(
            received_at=received_at,
            text=text,
            virtual_number=virtual_number,
            is_part=part_number is not None,
            rule=rule,
        )
        for received_at, text, virtual_number, part_number, rule in before.order_by(
            "-pk"
        ).values_list(*columns)[:_EARLIER_TEXTS]
    )


def _was_prompted(msisdn: str, printed: tuple[PrintedOption, ...]) -> bool:
    asked_at = latest_asked_at(option for option in printed if option.is_open)
    prompts = _automatic_answers(msisdn).filter(kind=Kind.RE_PROMPT)
    return asked_at is not None and prompts.filter(queued_at__gte=asked_at).exists()


def _automatic_answers(msisdn: str) -> OutboundMessageQuerySet:
    """Select what our rule said to this number. STOP, START and HELP are not counted."""
    answers = OutboundMessage.objects.filter(
        msisdn=msisdn, kind__in=[Kind.ACKNOWLEDGEMENT, Kind.RE_PROMPT], in_reply_to__isnull=False
    )
    return answers.exclude(state=MessageState.CANCELLED).exclude(
        in_reply_to__outcome=Outcome.OPTED_IN
    )


def _answers_in_a_row(msisdn: str, now: dt.datetime) -> int:
    since = now - _ANSWERS_WITHIN
    choices = InboundMessage.objects.filter(
        msisdn=msisdn, outcome__in=CHOSEN, received_at__gt=since
    )
    latest_choice = choices.order_by("-received_at").values_list("received_at", flat=True).first()
    answers = _automatic_answers(msisdn).filter(queued_at__gt=latest_choice or since)
    # The answer to the choice itself is queued after the choice came in.
    return answers.exclude(in_reply_to__outcome__in=CHOSEN).count()


def _told_closed(customer: Customer) -> frozenset[int]:
    """Return the bookings whose customer was told before that the notification is closed."""
    closed = {line.booking.pk for line in customer.printed if line.standing == Standing.CLOSED}
    if not closed:
        return frozenset()
    told = OutboundMessage.objects.filter(
        booking__in=closed, msisdn=customer.msisdn, in_reply_to__outcome=Outcome.CLOSED
    ).exclude(state=MessageState.CANCELLED)
    return frozenset(told.values_list("booking__pk", flat=True))


def _count_moves(customer: Customer, now: dt.datetime) -> dict[int, int]:
    """Return how often replies moved each booking in the last ten minutes."""
    open_bookings = {line.booking.pk for line in customer.open_options}
    if not open_bookings:
        return {}
    by_reply = SlotChange.objects.filter(
        booking__in=open_bookings, cause=ChangeCause.REPLY, created_at__gt=now - MOVES_WITHIN
    )
    return dict(by_reply.order_by().values_list("booking").annotate(Count("pk")))
