"""Telling customers about a change by dispatch: by SMS, by phone, by a new notification, or not at all."""

import datetime as dt
import enum
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models, transaction
from django.db.models import Max
from django.utils import timezone

from bookings import outbox
from bookings.language import messages
from bookings.models import (
    ActKind,
    Booking,
    Kind,
    MessageState,
    Notification,
    OutboundMessage,
    StaffAct,
)
from bookings.models.keys import new_key
from bookings.notifications import asking
from bookings.notifications.asking import lock_booking
from bookings.outbox.recipients import find_why_not_texted

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

#: A text about a change is worth sending for at least this time.
_LIFE = dt.timedelta(hours=24)
_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)


class CannotTell(Exception):
    """This customer cannot be told by SMS. The text is a sentence for staff."""


class News(enum.StrEnum):
    """The news that a text by dispatch tells of a booking: the name of its text in language/texts/."""

    MOVED = "told_moved"
    PLANNED = "told_planned"  # the delivery takes place, or takes place after all
    CHOSEN = "moved"  # as the customer asked
    KEPT = "kept"  # as the customer asked
    CANCELLED = "told_cancelled"


class Method(models.TextChoices):
    """The ways in which staff can tell a customer."""

    SMS = "sms", "By SMS"
    PHONE = "phone", "Told by phone"
    ASK = "ask", "Send a new notification"
    NOBODY = "nobody", "Do not tell"


#: The methods that text the customer, which needs the permission to notify customers.
_BY_SMS = (Method.SMS, Method.ASK)


def methods_for(user: "User | AnonymousUser") -> list[Method]:
    """The methods that this person is allowed to use."""
    may_text = user.has_perm("bookings.notify_booking")
    return [method for method in Method if may_text or method not in _BY_SMS]


def inform(booking: Booking, method: Method, user: "User", *, news: News) -> None:
    """Tell the customer the present state of the booking, in the transaction of the change. Raises CannotTell."""
    match method:
        case Method.SMS:
            send_notice(booking, news, user=user)
        case Method.PHONE:
            record_phone_call(booking, user)
        case Method.ASK:
            try:
                asking.notify(booking, user=user)
            except asking.CannotNotify as error:
                raise CannotTell(str(error)) from None


def was_informed(booking: Booking, method: Method, user: "User | AnonymousUser") -> bool:
    """Return True if this person has told the customer the present state of the booking by this method."""
    by_user = {"booking": booking, "msisdn": booking.msisdn, "user": user}
    told = by_user | {"told_state": booking.state}
    since = _changed_at(booking)
    match method:
        case Method.SMS:
            texts = OutboundMessage.objects.filter(kind=Kind.TOLD, queued_at__gte=since, **told)
            return texts.exclude(state=MessageState.CANCELLED).exists()
        case Method.PHONE:
            calls = StaffAct.objects.filter(kind=ActKind.TOLD_BY_PHONE, **told)
            return calls.filter(created_at__gte=since).exists()
        case Method.ASK:
            return booking.notifications.open().filter(asked_by=user.pk).exists()
    return True


def _changed_at(booking: Booking) -> dt.datetime:
    """The moment of the booking's last move or cancellation."""
    acts = StaffAct.objects.filter(booking=booking, kind=ActKind.CALLED_OFF)
    called_off_at = acts.aggregate(at=Max("created_at"))["at"]
    moments = (booking.changed_at, booking.cancelled_at, called_off_at)
    return max(filter(None, moments), default=_LONG_AGO)


def send_notice(
    booking: Booking, news: News = News.MOVED, *, user: "User | None" = None
) -> OutboundMessage:
    """Queue the text that tells the present state of a booking, in one transaction with the change.

    A cancelled booking has one text, whatever the `news`. Raises CannotTell.
    """
    with transaction.atomic():
        current = lock_booking(booking)
        if reason := find_why_not_texted(current.msisdn):
            raise CannotTell(reason)
        where = messages.where(current.slot, current.language)
        return outbox.queue(
            Kind.TOLD,
            notice_text(current, where, news),
            key=f"told:{new_key()}",
            msisdn=current.msisdn,
            sender=sender_for(current.msisdn),
            booking=current,
            user=user,
            valid_until=max(current.slot.ends_at, timezone.now() + _LIFE),
        )


def notice_text(booking: Booking, where: str, news: News) -> str:
    """The text of `send_notice`. `where` is the date, window and place of the booking in words."""
    name = news if booking.is_scheduled else News.CANCELLED
    return messages.render(name.value, booking.language, reference=booking.reference, where=where)


def example_notice(booking: Booking) -> str:
    """The text about a move to a day that is not chosen yet; for a cancelled booking, that it takes place after all."""
    if booking.is_scheduled:
        where = messages.where_to_come(booking.language, is_new=True)
        return notice_text(booking, where, News.MOVED)
    again = Booking(reference=booking.reference, language=booking.language)
    where = messages.where_to_come(booking.language, is_new=False)
    return notice_text(again, where, News.PLANNED)


def record_phone_call(booking: Booking, user: "User") -> None:
    """Record that a person has told the customer the state of the booking. The caller has locked the customer."""
    about_it = OutboundMessage.objects.filter(booking=booking)
    about_it.cancel_reminders(SPOKEN_TO)
    StaffAct.objects.create(
        kind=ActKind.TOLD_BY_PHONE,
        user=user,
        msisdn=booking.msisdn,
        booking=booking,
        told_state=booking.state,
        details=phone_call_details(booking),
    )


#: The reason of a reminder that was cancelled because a person has spoken to the customer.
SPOKEN_TO = "somebody has spoken to the customer"


def phone_call_details(booking: Booking) -> str:
    """The words with which a phone call about the present state of a booking is recorded."""
    return str(booking.slot) if booking.is_scheduled else "that it is cancelled"


def sender_for(msisdn: str) -> str:
    """Our number that asked this customer last, or else the default one."""
    asked = Notification.objects.filter(
        msisdn=msisdn, virtual_number__in=settings.VONAGE_NUMBERS
    ).first()
    return asked.virtual_number if asked else settings.VONAGE_NUMBERS[0]
