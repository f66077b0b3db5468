"""Asking many customers at once: who would get which text, who would not and why, and doing it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from bookings import notifications, texts
from bookings.history import moment
from bookings.models import Booking, Notification, OutboundMessage, lock_customer

#: How many customers one page asks.
MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Refusal:
    """A customer who is not asked, and why, as a sentence."""

    booking: Booking
    reason: str


@dataclass(frozen=True, slots=True)
class Asking:
    """A customer who will be asked."""

    plan: notifications.Plan

    @property
    def costly(self) -> list[str]:
        return texts.costly_characters(self.plan.text)


@dataclass(slots=True)
class Asked:
    """What came of it."""

    count: int = 0
    before: int = 0  # asked by the same page, submitted before
    refusals: list[Refusal] = field(default_factory=list)


def preview(bookings: Iterable[Booking], sender: str) -> tuple[list[Asking], list[Refusal]]:
    """What `ask` would do now with them in this order; writes nothing."""
    bookings = list(bookings)
    waiting = {row.booking_id: row for row in _open_questions().filter(booking__in=bookings)}
    asked: list[Asking] = []
    taken: dict[str, frozenset[int]] = {}  # by phone number, the digits of those before
    refusals: list[Refusal] = []
    for booking in bookings:
        try:
            _check_not_waiting(waiting.get(booking.pk))
            before = taken.get(booking.msisdn, frozenset())
            plan = notifications.plan(booking, sender=sender, also_taken=before)
        except notifications.CannotNotify as error:
            refusals.append(Refusal(booking, str(error)))
        else:
            asked.append(Asking(plan))
            taken[booking.msisdn] = before | {option.digit for option in plan.options}
    return asked, refusals


def ask(bookings: Iterable[Booking], *, nonce: str, user: User, sender: str) -> Asked:
    """Notify each customer, each in a transaction of its own. Once per nonce and booking."""
    asked = Asked()
    for booking in bookings:
        key = f"admin:{nonce}:{booking.pk}"
        try:
            if _ask_once(booking, key, user, sender):
                asked.count += 1
            else:
                asked.before += 1
        except notifications.CannotNotify as error:
            asked.refusals.append(Refusal(booking, str(error)))
    return asked


def _ask_once(booking: Booking, key: str, user: User, sender: str) -> bool:
    """False if this page has asked this customer before."""
    same = OutboundMessage.objects.filter(idempotency_key=key)
    try:
        with transaction.atomic():
            lock_customer(booking.msisdn)
            if same.exists():
                return False
            _check_not_waiting(_open_questions().filter(booking=booking).first())
            notifications.notify(booking, user=user, sender=sender, idempotency_key=key)
    except IntegrityError:
        if not same.exists():
            raise
        return False
    return True


def _open_questions() -> QuerySet[Notification]:
    return Notification.objects.open().filter(closes_at__gt=timezone.now())


def _check_not_waiting(notification: Notification | None) -> None:
    """Asking again would withdraw a question that can still be answered."""
    if notification is not None:
        asked_at, until = moment(notification.created_at), moment(notification.closes_at)
        raise notifications.CannotNotify(f"Asked {asked_at}, and can still answer until {until}.")
