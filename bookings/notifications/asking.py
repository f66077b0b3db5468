"""Notifications: ask a customer, withdraw what was asked, close what is past, renew texts that are no longer true."""

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
from bookings.notifications.drafts import CannotNotify, Draft, draft_notification
from bookings.replies import acknowledgements
from bookings.scheduling.digits import release_rested
from bookings.scheduling.offers import OfferCache, options_of
from bookings.scheduling.slots import find_or_create

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = [
    "CannotNotify",
    "close_past",
    "lock_booking",
    "lock_texts",
    "notify",
    "notify_locked",
    "renew_stale",
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

    `is_plain` replaces characters that make the text dearer. `with_reminder` lets a customer who does not answer be
    reminded once. Raises CannotNotify, and IntegrityError if the idempotency key was used before.
    """
    with transaction.atomic():
        return notify_locked(
            lock_booking(booking),
            user=user,
            slots=slots,
            sender=sender,
            is_plain=is_plain,
            with_reminder=with_reminder,
            idempotency_key=idempotency_key,
        )


def notify_locked(
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
    """Do what `notify` does, in the transaction of the caller, who has locked the booking with `lock_booking`."""
    lock_texts([booking])
    _close(Notification.objects.past(timezone.now()).filter(msisdn=booking.msisdn))
    _end_notification(booking, "asked again")
    # The booking did not change, so that texts by staff stay true.
    automatic = OutboundMessage.objects.filter(booking=booking).exclude(kind=Kind.STAFF)
    automatic.cancel("asked again")
    draft = draft_notification(
        booking, slots=slots, sender=sender, is_plain=is_plain, offers=offers
    )
    notification = _open(
        draft, user, has_chosen_options=slots is not None, with_reminder=with_reminder
    )
    outbox.queue(
        Kind.NOTIFICATION,
        draft.text,
        key=idempotency_key or f"notification:{notification.pk}",
        msisdn=booking.msisdn,
        sender=draft.sender,
        booking=booking,
        notification=notification,
        user=user,
        valid_until=draft.valid_until,
    )
    _log(notification, draft)
    return notification


def _log(notification: Notification, draft: Draft) -> None:
    if draft.options:
        logger.info("Notification %s: booking %s asked", notification.pk, draft.booking.pk)
    else:
        logger.warning(
            "Notification %s: booking %s told without options, all digits are taken",
            notification.pk,
            draft.booking.pk,
        )


def lock_booking(booking: Booking, *msisdns: str) -> Booking:
    """Lock the customer of a booking, and these other numbers, and return the booking as it is now."""
    while True:
        lock_customer(booking.msisdn, *msisdns)
        current = Booking.objects.select_related("slot").get(pk=booking.pk)
        if current.msisdn == booking.msisdn:
            return current
        booking = current  # its phone changed while we waited for the locks


def withdraw(booking: Booking, because: str) -> None:
    """Withdraw a booking's open notification and cancel every queued text about the booking.

    The caller has locked the customer. A queued text by staff becomes a ticket again. A queued answer about another
    booking no longer repeats this notification.
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
        acknowledgements.rewrite_waiting(booking.msisdn)


def withdraw_many(bookings: Sequence[tuple[Booking, str]]) -> None:
    """Withdraw for many bookings, each with its reason. The caller has locked all customers.

    Most bookings have nothing open, and take no statement of their own.
    """
    chosen = [booking for booking, _ in bookings]
    asked = Notification.objects.open().filter(booking__in=chosen).values_list("booking", flat=True)
    affected = {*asked, *lock_texts(chosen)}
    for booking, because in bookings:
        if booking.pk in affected:
            _withdraw(booking, because)


def lock_texts(bookings: Sequence[Booking], *msisdns: str) -> set[int | None]:
    """Lock the waiting texts about these bookings, to their customers, or to these numbers.

    All at once, to keep the order of locks. Returns the ids of the bookings that the texts are about.
    """
    customers = {booking.msisdn for booking in bookings} | {*msisdns}
    about = Q(booking__in=bookings) | Q(msisdn__in=customers)
    texts = OutboundMessage.objects.cancellable().filter(about)
    return set(texts.locked().values_list("booking", flat=True))


def close_past() -> int:
    """Close the notifications whose time is over. Returns the number that was looked at."""
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


def renew_stale() -> int:
    """Cancel queued texts that are no longer true, and ask again with today's dates where that is still possible.

    An answer that repeats several notifications goes on with those that are open. Returns the number of texts.
    """
    stale = OutboundMessage.objects.queued().filter(valid_until__lte=timezone.now(), is_held=False)
    messages = list(stale.select_related("booking").order_by("pk")[:200])
    for message in messages:
        with transaction.atomic():
            lock_customer(message.msisdn)
            lock_texts([message.booking] if message.booking else [], message.msisdn)
            acknowledgements.rewrite_waiting(message.msisdn)
            was_waiting = stale.filter(pk=message.pk).cancel("no longer true: its time was over")
            if was_waiting and message.kind == Kind.STAFF:
                message.refresh_from_db()
                tickets.review_outbound(message)
            if was_waiting and message.kind == Kind.NOTIFICATION and message.booking is not None:
                _renew(message.booking, message)
    return len(messages)


def _renew(booking: Booking, message: OutboundMessage) -> None:
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
            renewed = notify(
                booking,
                user=notification.asked_by,
                slots=chosen,
                sender=message.sender,
                is_plain=entry is not None and entry.batch.is_plain,
                with_reminder=notification.remind_at is not None,
                idempotency_key=key,
            )
            BatchEntry.objects.filter(notification=notification).update(notification=renewed)
    except CannotNotify as error:
        logger.info("Notification %s not asked afresh: %s", notification.pk, error)
        withdraw(booking, str(error))


def _open(
    draft: Draft, user: "User | None", *, has_chosen_options: bool, with_reminder: bool
) -> Notification:
    booking = draft.booking
    release_rested(booking.msisdn, timezone.now())
    notification = Notification.objects.create(
        booking=booking,
        msisdn=booking.msisdn,
        virtual_number=draft.sender,
        slot=booking.slot,
        closes_at=draft.closes_at,
        # Set anew when its text is handed over. A notice offers nothing to be reminded of.
        remind_at=draft.closes_at if with_reminder and draft.options else None,
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
        for option in draft.options
    )
    return notification
