"""What a batch would come to if it were started now: a few queries, however many they are."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from bookings.language import encoding
from bookings.models import BatchEntry, Booking, Consent, Notification
from bookings.models.fields import country_of
from bookings.notifications import drafts
from bookings.notifications.batches.asking import ASKED_ALREADY
from bookings.notifications.batches.timing import Planned, Timing, Walk, count_ahead
from bookings.outbox.spending import price_per_part
from bookings.scheduling.digits import digits_taken, first_block
from bookings.scheduling.offers import offered_slots

_SHOWN_TEXTS = 3
_ASKED_BY_ANOTHER = "In another batch that is still running."


@dataclass(slots=True)
class Preview:
    """Whom a batch would ask, in which words and at what price; whom not, and why."""

    timing: Timing
    total: int = 0
    asked: int = 0
    notices: int = 0  # all digits of the customer are taken: told without options
    parts: int = 0
    cost: Decimal = Decimal()  # in the account's currency
    spared_parts: int = 0  # with plain characters, by who would otherwise get more
    spared_cost: Decimal = Decimal()
    dearest: int = 0  # the most parts of a text that plain characters would make shorter
    costly: list[tuple[str, str]] = field(default_factory=list)  # a character, and where it stands
    samples: list[drafts.Plan] = field(default_factory=list)
    longest: drafts.Plan | None = None
    left_out: list[tuple[str, list[Booking]]] = field(default_factory=list)


def preview(bookings: QuerySet[Booking], *, sender: str, is_plain: bool = False) -> Preview:
    """What starting it now would do; writes nothing. All counts are exact for this moment."""
    now = timezone.now()
    rows = _rows(bookings)
    reasons = _reasons(rows, bookings, now)
    asked = [booking for booking in rows if booking.pk not in reasons]
    first_digits = _first_digits(asked, digits_taken(bookings, now))
    walk = Walk({booking.msisdn for booking in asked}, now, count_ahead(now))
    found = Preview(
        timing=walk.found,
        total=len(rows),
        asked=len(asked),
        notices=list(first_digits.values()).count(None),
        left_out=_grouped(rows, reasons),
    )
    wording = _Wording(asked, sender, now)
    for booking in asked:
        measured = wording.measure(booking, first_digits[booking.pk])
        cost = _count(found, booking, measured, is_plain=is_plain)
        walk.take(Planned(booking.msisdn, booking.slot.cutoff_at, cost))
    found.costly = _costly(wording.costly(), asked)
    found.samples = [
        wording.word(booking, first_digits[booking.pk], is_plain=is_plain)
        for booking in asked[:_SHOWN_TEXTS]
    ]
    longest = wording.longest(is_plain=is_plain)
    shown = {plan.booking.pk for plan in found.samples}
    found.longest = longest if longest and longest.booking.pk not in shown else None
    return found


def left_out(bookings: QuerySet[Booking]) -> list[tuple[str, list[Booking]]]:
    """Who would not be texted if it were started now, by reason: what most have in common comes first."""
    rows = _rows(bookings)
    return _grouped(rows, _reasons(rows, bookings, timezone.now()))


def _rows(bookings: QuerySet[Booking]) -> list[Booking]:
    return list(bookings.select_related("slot").order_by("pk"))


def _count(found: Preview, booking: Booking, measured: "_Measured", *, is_plain: bool) -> Decimal:
    """Add the text of one booking to the sums; returns what it costs."""
    price = price_per_part(country_of(booking.msisdn) if settings.SMS_PRICES else "")
    parts = measured.plain_parts if is_plain else measured.parts
    found.parts += parts
    found.cost += price * parts
    if measured.is_dearer:
        found.spared_parts += measured.parts - measured.plain_parts
        found.spared_cost += price * (measured.parts - measured.plain_parts)
        found.dearest = max(found.dearest, measured.parts)
    return price * parts


def _reasons(
    rows: Iterable[Booking], bookings: QuerySet[Booking], now: dt.datetime
) -> dict[int, str]:
    """Why these are left out, by the booking's id."""
    mine = bookings.order_by()
    opted_out = set(
        Consent.objects.opted_out()
        .filter(msisdn__in=mine.values("msisdn"))
        .values_list("msisdn", flat=True)
    )
    notifications = Notification.objects.open().filter(
        closes_at__gt=now, booking__in=mine.values("pk")
    )
    reasons = dict.fromkeys(_in_other_batches(bookings), _ASKED_BY_ANOTHER)
    reasons |= dict.fromkeys(notifications.values_list("booking", flat=True), ASKED_ALREADY)
    found = {}
    for booking in rows:
        reason = reasons.get(booking.pk, "")
        is_out = booking.msisdn in opted_out
        if reason := reason or drafts.why_not_asked(booking, now, is_opted_out=is_out):
            found[booking.pk] = reason
    return found


def _in_other_batches(bookings: QuerySet[Booking]) -> QuerySet[BatchEntry, int]:
    """Those whom another batch is about to ask."""
    entries = BatchEntry.objects.to_ask().filter(booking__in=bookings.order_by().values("pk"))
    return entries.values_list("booking", flat=True)


def _grouped(rows: Iterable[Booking], reasons: dict[int, str]) -> list[tuple[str, list[Booking]]]:
    groups: dict[str, list[Booking]] = defaultdict(list)
    for booking in rows:
        if booking.pk in reasons:
            groups[reasons[booking.pk]].append(booking)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _first_digits(asked: Iterable[Booking], taken: dict[str, set[int]]) -> dict[int, int | None]:
    """The block of digits that each will get: parcels of one customer are asked one after the other."""
    found = {}
    for booking in asked:
        first = first_block(taken[booking.msisdn])
        found[booking.pk] = first
        if first is not None:
            taken[booking.msisdn].add(first)
    return found


@dataclass(frozen=True, slots=True)
class _Measured:
    """A text as it is, and in plain characters."""

    as_it_is: drafts.Plan
    plain: drafts.Plan
    parts: int
    plain_parts: int

    @property
    def is_dearer(self) -> bool:
        return self.plain_parts < self.parts


class _Wording:
    """Texts of many bookings. Those that differ in nothing but references of one length are measured once."""

    def __init__(self, bookings: Iterable[Booking], sender: str, now: dt.datetime) -> None:
        self._sender, self._now = sender, now
        self._offered = offered_slots((booking.slot for booking in bookings), now)
        self._measured: dict[tuple[object, ...], _Measured] = {}

    def measure(self, booking: Booking, first: int | None) -> _Measured:
        """How long its text is; `first` is the first digit, or None for a notice."""
        reference = booking.reference
        length = len(reference) if encoding.is_gsm7(reference) else reference
        kind = (booking.slot_id, booking.language, first, length)
        if kind not in self._measured:
            plan = self.word(booking, first)
            plain = self.word(booking, first, is_plain=True)
            self._measured[kind] = _Measured(plan, plain, plan.parts, plain.parts)
        return self._measured[kind]

    def word(self, booking: Booking, first: int | None, *, is_plain: bool = False) -> drafts.Plan:
        offered = self._offered[booking.slot_id]
        return drafts.word(
            booking, offered, first, sender=self._sender, now=self._now, is_plain=is_plain
        )

    def longest(self, *, is_plain: bool) -> drafts.Plan | None:
        """The text that takes the most parts, and of those the longest."""
        known = self._measured.values()
        worded = [each.plain if is_plain else each.as_it_is for each in known]
        return max(worded, key=lambda plan: (plan.parts, len(plan.text)), default=None)

    def costly(self) -> list[str]:
        """The characters that make texts dearer, and need not."""
        known = self._measured.values()
        dearer = [each.as_it_is.text for each in known if each.is_dearer]
        return encoding.costly_characters("".join(dearer))


def _costly(characters: Sequence[str], asked: Sequence[Booking]) -> list[tuple[str, str]]:
    """Each of these characters, and where staff find it."""
    if not characters:
        return []
    references = "".join(booking.reference for booking in asked)
    places = (
        (settings.COMPANY_NAME, "the company's name"),
        (settings.COMPANY_PHONE, "the company's phone number"),
        (references, "references"),
    )
    return [
        (char, next((name for words, name in places if char in words), "the template"))
        for char in characters
    ]
