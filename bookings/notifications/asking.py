"""Asking a customer: open a notification, queue its SMS, withdraw it, ask afresh."""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from bookings import outbox
from bookings.customers import tickets
from bookings.models import (
    BatchEntry,
    Booking,
    Kind,
    Notification,
    NotificationState,
    OutboundMessage,
    Slot,
    SlotOption,
    lock_customer,
)
from bookings.models.outbound import ASKING_KINDS
from bookings.notifications.drafts import CannotNotify, Plan, PlannedOption, plan
from bookings.replies import acknowledgements
from bookings.scheduling.digits import release_rested
from bookings.scheduling.offers import OfferCache, options_of
from bookings.scheduling.slots import find_or_create

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = [
    "CannotNotify",
    "Plan",
    "PlannedOption",
    "ask",
    "ask_afresh",
    "close_past",
    "lock_booking",
    "lock_texts",
    "notify",
    "plan",
    "withdraw",
    "withdraw_many",
]

logger = logging.getLogger(__name__)


def notify(
    booking: Booking,
    *,
    user: "User | None" = None,
    slots: Sequence[Slot] | None = None,
    sender: str | None = None,
    is_plain: bool = False,
    with_reminder: bool = False,
    idempotency_key: str = "",
) -> Notification:
    """Ask the customer about a booking: withdraw the open notification, open a new one, queue its SMS.

    `is_plain` replaces characters that make the text dearer; `with_reminder` reminds whoever is silent, once.
    Raises CannotNotify, and IntegrityError if the idempotency key was used before.
    """
    with transaction.atomic():
        return ask(
            lock_booking(booking),
            user=user,
            slots=slots,
            sender=sender,
            is_plain=is_plain,
            with_reminder=with_reminder,
            idempotency_key=idempotency_key,
        )


def ask(
    booking: Booking,
    *,
    user: "User | None",
    sender: str | None,
    is_plain: bool,
    with_reminder: bool,
    idempotency_key: str,
    slots: Sequence[Slot] | None = None,
    offers: OfferCache | None = None,
) -> Notification:
    """Do what `notify` does, in the transaction of the caller, who holds the locks (`lock_booking`)."""
    lock_texts([booking])
    _close(Notification.objects.past(timezone.now()).filter(msisdn=booking.msisdn))
    _end_notification(booking, "asked again")
    texts_of_rules = OutboundMessage.objects.filter(booking=booking).exclude(kind=Kind.STAFF)
    texts_of_rules.cancel("asked again")  # nothing changed: what a person wrote stays true
    planned = plan(booking, slots=slots, sender=sender, is_plain=is_plain, offers=offers)
    notification = _open(
        planned, user, has_chosen_options=slots is not None, with_reminder=with_reminder
    )
    outbox.queue(
        Kind.NOTIFICATION,
        planned.text,
        key=idempotency_key or f"notification:{notification.pk}",
        msisdn=booking.msisdn,
        sender=planned.sender,
        booking=booking,
        notification=notification,
        user=user,
        valid_until=planned.valid_until,
    )
    _log(notification, planned)
    return notification


def _log(notification: Notification, planned: Plan) -> None:
    if planned.options:
        logger.info("Notification %s: booking %s asked", notification.pk, planned.booking.pk)
    else:
        logger.warning(
            "Notification %s: booking %s told without options, all digits are taken",
            notification.pk,
            planned.booking.pk,
        )


def lock_booking(booking: Booking, *msisdns: str) -> Booking:
    """The booking as it is now, with the locks of its customer and of these other numbers taken."""
    while True:
        lock_customer(booking.msisdn, *msisdns)
        current = Booking.objects.select_related("slot").get(pk=booking.pk)
        if current.msisdn == booking.msisdn:
            return current
        booking = current  # its phone changed while we waited for the locks


def withdraw(booking: Booking, because: str) -> None:
    """Withdraw a booking's open notification and cancel every queued text about the booking.

    The caller holds the locks. A queued text that staff wrote becomes a ticket again. A queued answer about another
    delivery no longer repeats this notification.
    """
    lock_texts([booking])
    _withdraw(booking, because)


def _withdraw(booking: Booking, because: str) -> None:
    _end_notification(booking, because)
    tickets.cancel_texts_about(booking, because)


def _end_notification(booking: Booking, because: str) -> None:
    now = timezone.now()
    asked = list(Notification.objects.open().filter(booking=booking))
    for notification in asked:
        is_past = notification.closes_at <= now
        state = NotificationState.CLOSED if is_past else NotificationState.WITHDRAWN
        notification.end(state, now, "" if is_past else because)
    if asked:
        acknowledgements.write_anew(booking.msisdn)


def withdraw_many(bookings: Sequence[tuple[Booking, str]]) -> None:
    """Do the same about many, each with its reason: most have nothing open. The caller holds all the locks."""
    chosen = [booking for booking, _ in bookings]
    asked = Notification.objects.open().filter(booking__in=chosen).values_list("booking", flat=True)
    concerned = {*asked, *lock_texts(chosen)}
    for booking, because in bookings:
        if booking.pk in concerned:
            _withdraw(booking, because)


def lock_texts(bookings: Sequence[Booking], *msisdns: str) -> set[int | None]:
    """Lock what waits about them, for their customers or for these numbers, all at once: one by one would be nobody
    else's order. Returns the bookings that it is about, by id.
    """
    customers = {booking.msisdn for booking in bookings} | {*msisdns}
    concerned = Q(booking__in=bookings) | Q(msisdn__in=customers)
    texts = OutboundMessage.objects.cancellable().filter(concerned)
    return set(texts.locked().values_list("booking", flat=True))


def close_past() -> int:
    """Close the notifications whose time is over."""
    with transaction.atomic():
        past = list(Notification.objects.past(timezone.now()).locked()[:500])
        _close(past)
    return len(past)


def _close(past: Iterable[Notification]) -> None:
    closed = list(past)
    for notification in closed:
        notification.end(NotificationState.CLOSED, timezone.now())
    if closed:
        texts = OutboundMessage.objects.filter(notification__in=closed, kind__in=ASKING_KINDS)
        texts.cancel("its time was over before it could be sent")


def ask_afresh() -> int:
    """Cancel queued texts that are not true any more, and ask anew, with today's dates, where one still can.

    An answer that repeats several notifications goes on with those that are open.
    """
    stale = OutboundMessage.objects.queued().filter(valid_until__lte=timezone.now(), is_held=False)
    messages = list(stale.select_related("booking").order_by("pk")[:200])
    for message in messages:
        with transaction.atomic():
            lock_customer(message.msisdn)
            lock_texts([message.booking] if message.booking else [], message.msisdn)
            acknowledgements.write_anew(message.msisdn)
            waited = stale.filter(pk=message.pk).cancel("no longer true: its time was over")
            if waited and message.kind == Kind.STAFF:
                message.refresh_from_db()
                tickets.review_outbound(message)
            if waited and message.kind == Kind.NOTIFICATION and message.booking is not None:
                _ask_again(message.booking, message)
    return len(messages)


def _ask_again(booking: Booking, message: OutboundMessage) -> None:
    notification = Notification.objects.open().filter(outbound_messages=message).first()
    if notification is None:
        return
    if (
        message.gateway != settings.SMS_GATEWAY
    ):  # what was meant for the simulator reaches no real phone
        withdraw(booking, f"was meant for another gateway ({message.gateway})")
        return
    chosen = (
        [option.slot for option in options_of(notification)]
        if notification.has_chosen_options
        else None
    )
    entry = BatchEntry.objects.filter(notification=notification).select_related("batch").first()
    try:
        with transaction.atomic():
            key = f"afresh:{message.pk}"
            fresh = notify(
                booking,
                user=notification.asked_by,
                slots=chosen,
                sender=message.sender,
                is_plain=entry is not None and entry.batch.is_plain,
                with_reminder=notification.remind_at is not None,
                idempotency_key=key,
            )
            BatchEntry.objects.filter(notification=notification).update(notification=fresh)
    except CannotNotify as error:
        logger.info("Notification %s not asked afresh: %s", notification.pk, error)
        withdraw(booking, str(error))


def _open(
    planned: Plan, user: "User | None", *, has_chosen_options: bool, with_reminder: bool
) -> Notification:
    booking = planned.booking
    release_rested(booking.msisdn, timezone.now())
    notification = Notification.objects.create(
        booking=booking,
        msisdn=booking.msisdn,
        virtual_number=planned.sender,
        slot=booking.slot,
        closes_at=planned.closes_at,
        # Set anew when its text is handed over. A notice offers nothing to be reminded of.
        remind_at=planned.closes_at if with_reminder and planned.options else None,
        asked_by=user,
        has_chosen_options=has_chosen_options,
    )
    SlotOption.objects.bulk_create(
        SlotOption(
            notification=notification,
            msisdn=booking.msisdn,
            digit=option.digit,
            words=option.words,
            slot=find_or_create(option.slot),
        )
        for option in planned.options
    )
    return notification
