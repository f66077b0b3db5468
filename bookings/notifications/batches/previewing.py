"""The preview of a batch: whom it would ask, in which words, at what price and when. A few queries for any number."""

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
from bookings.notifications.batches.running import ASKED_ALREADY
from bookings.notifications.batches.timing import Forecast, ForecastText, Timing, count_ahead
from bookings.outbox.spending import price_per_part
from bookings.scheduling.digits import digits_taken, first_block
from bookings.scheduling.offers import offered_slots

_SHOWN_TEXTS = 3
_ASKED_BY_ANOTHER = "In another batch that is still running."


@dataclass(slots=True)
class BatchPreview:
    """The customers that a batch would ask, the texts, the price and the time; and those left out, with the reasons."""

    timing: Timing
    total: int = 0
    asked: int = 0
    notices: int = 0  # plain notices without options, because all digits are taken
    parts: int = 0
    cost: Decimal = Decimal()  # in the account's currency
    spared_parts: int = 0  # fewer with plain characters
    spared_cost: Decimal = Decimal()
    dearest: int = 0  # the most parts of a text that plain characters make shorter
    costly: list[tuple[str, str]] = field(default_factory=list)  # a character, and where it stands
    samples: list[drafts.Draft] = field(default_factory=list)
    longest: drafts.Draft | None = None
    left_out: list[tuple[str, list[Booking]]] = field(default_factory=list)


def preview_batch(
    bookings: QuerySet[Booking], *, sender: str, is_plain: bool = False
) -> BatchPreview:
    """Return what starting the batch now would do; writes nothing. The counts are exact for this moment."""
    now = timezone.now()
    rows = _rows(bookings)
    reasons = _reasons(rows, bookings, now)
    asked = [booking for booking in rows if booking.pk not in reasons]
    first_digits = _first_digits(asked, digits_taken(bookings, now))
    forecast = Forecast({booking.msisdn for booking in asked}, now, count_ahead(now))
    found = BatchPreview(
        timing=forecast.timing,
        total=len(rows),
        asked=len(asked),
        notices=list(first_digits.values()).count(None),
        left_out=_grouped(rows, reasons),
    )
    wording = _Wording(asked, sender, now)
    for booking in asked:
        lengths = wording.lengths_of(booking, first_digits[booking.pk])
        cost = _count(found, booking, lengths, is_plain=is_plain)
        forecast.add(ForecastText(booking.msisdn, booking.slot.cutoff_at, cost))
    found.costly = _costly(wording.costly(), asked)
    found.samples = [
        wording.write(booking, first_digits[booking.pk], is_plain=is_plain)
        for booking in asked[:_SHOWN_TEXTS]
    ]
    longest = wording.longest(is_plain=is_plain)
    shown = {draft.booking.pk for draft in found.samples}
    found.longest = longest if longest and longest.booking.pk not in shown else None
    return found


def list_left_out(bookings: QuerySet[Booking]) -> list[tuple[str, list[Booking]]]:
    """Return the bookings that the batch would leave out now, by reason, the most frequent reason first."""
    rows = _rows(bookings)
    return _grouped(rows, _reasons(rows, bookings, timezone.now()))


def _rows(bookings: QuerySet[Booking]) -> list[Booking]:
    return list(bookings.select_related("slot").order_by("pk"))


def _count(
    found: BatchPreview, booking: Booking, lengths: "_Lengths", *, is_plain: bool
) -> Decimal:
    """Add the text of one booking to the sums, and return its cost."""
    price = price_per_part(country_of(booking.msisdn) if settings.SMS_PRICES else "")
    parts = lengths.plain_parts if is_plain else lengths.parts
    found.parts += parts
    found.cost += price * parts
    if lengths.is_dearer:
        found.spared_parts += lengths.parts - lengths.plain_parts
        found.spared_cost += price * (lengths.parts - lengths.plain_parts)
        found.dearest = max(found.dearest, lengths.parts)
    return price * parts


def _reasons(
    rows: Iterable[Booking], bookings: QuerySet[Booking], now: dt.datetime
) -> dict[int, str]:
    """The reasons why bookings are left out, by the booking's id."""
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
    """The ids of bookings whose customers another batch is about to ask."""
    entries = BatchEntry.objects.to_ask().filter(booking__in=bookings.order_by().values("pk"))
    return entries.values_list("booking", flat=True)


def _grouped(rows: Iterable[Booking], reasons: dict[int, str]) -> list[tuple[str, list[Booking]]]:
    groups: dict[str, list[Booking]] = defaultdict(list)
    for booking in rows:
        if booking.pk in reasons:
            groups[reasons[booking.pk]].append(booking)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _first_digits(asked: Iterable[Booking], taken: dict[str, set[int]]) -> dict[int, int | None]:
    """The first digit that each booking will get. Bookings of one customer are asked one after the other."""
    found = {}
    for booking in asked:
        first = first_block(taken[booking.msisdn])
        found[booking.pk] = first
        if first is not None:
            taken[booking.msisdn].add(first)
    return found


@dataclass(frozen=True, slots=True)
class _Lengths:
    """A text as it is and in plain characters, with the parts of each."""

    original: drafts.Draft
    plain: drafts.Draft
    parts: int
    plain_parts: int

    @property
    def is_dearer(self) -> bool:
        return self.plain_parts < self.parts


class _Wording:
    """The texts of many bookings. Texts that differ only in references of the same length are counted once."""

    def __init__(self, bookings: Iterable[Booking], sender: str, now: dt.datetime) -> None:
        self._sender, self._now = sender, now
        self._offered = offered_slots((booking.slot for booking in bookings), now)
        self._lengths: dict[tuple[object, ...], _Lengths] = {}

    def lengths_of(self, booking: Booking, first: int | None) -> _Lengths:
        """Return the parts of a booking's text. `first` is the first digit, or None for a notice."""
        reference = booking.reference
        length = len(reference) if encoding.is_gsm7(reference) else reference
        kind = (booking.slot_id, booking.language, first, length)
        if kind not in self._lengths:
            draft = self.write(booking, first)
            plain = self.write(booking, first, is_plain=True)
            self._lengths[kind] = _Lengths(draft, plain, draft.parts, plain.parts)
        return self._lengths[kind]

    def write(self, booking: Booking, first: int | None, *, is_plain: bool = False) -> drafts.Draft:
        offered = self._offered[booking.slot_id]
        return drafts.write_draft(
            booking, offered, first, sender=self._sender, now=self._now, is_plain=is_plain
        )

    def longest(self, *, is_plain: bool) -> drafts.Draft | None:
        """Return the text that takes the most parts, and of those the longest."""
        known = self._lengths.values()
        worded = [each.plain if is_plain else each.original for each in known]
        return max(worded, key=lambda draft: (draft.parts, len(draft.text)), default=None)

    def costly(self) -> list[str]:
        """Return the characters that make texts dearer and can be replaced by plain ones."""
        known = self._lengths.values()
        dearer = [each.original.text for each in known if each.is_dearer]
        return encoding.costly_characters("".join(dearer))


def _costly(characters: Sequence[str], asked: Sequence[Booking]) -> list[tuple[str, str]]:
    """Each of these characters with the place where staff find it."""
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
