"""How a customer learns of what dispatch did to a delivery: by SMS, by phone, by a new notification, or not at all."""

import datetime as dt
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Max

from bookings.dispatch import bookings as dispatch
from bookings.dispatch.bookings import CannotTell, News
from bookings.language import messages
from bookings.models import ActKind, Booking, Kind, MessageState, OutboundMessage, StaffAct
from bookings.notifications import asking

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


class Telling(models.TextChoices):
    SMS = "sms", "By SMS"
    PHONE = "phone", "I told them by phone"
    ASK = "ask", "Ask again by SMS, with new options"
    NOBODY = "nobody", "They are not told"


#: What texts the customer, as only who may notify customers may.
BY_SMS = (Telling.SMS, Telling.ASK)


def ways_for(user: "User | AnonymousUser") -> list[Telling]:
    """How this person may let a customer learn of it."""
    may_text = user.has_perm("bookings.notify_booking")
    return [way for way in Telling if may_text or way not in BY_SMS]


def tell(booking: Booking, how: Telling, user: "User", *, news: News) -> None:
    """Tell the customer where the delivery stands, in the transaction of the change. Raises CannotTell."""
    match how:
        case Telling.SMS:
            dispatch.tell(booking, news, user=user)
        case Telling.PHONE:
            dispatch.told_by_phone(booking, user)
        case Telling.ASK:
            try:
                asking.notify(booking, user=user)
            except asking.CannotNotify as error:
                raise CannotTell(str(error)) from None


def is_told(booking: Booking, how: Telling, user: "User | AnonymousUser") -> bool:
    """Whether this person has let the customer learn, in this way, where the delivery stands now."""
    so = {"booking": booking, "msisdn": booking.msisdn, "user": user}
    since = _stands_since(booking)
    match how:
        case Telling.SMS:
            told = OutboundMessage.objects.filter(kind=Kind.TOLD, queued_at__gte=since, **so)
            told = told.exclude(state=MessageState.CANCELLED)
            return told.filter(idempotency_key__startswith=dispatch.told_key(booking)).exists()
        case Telling.PHONE:
            calls = StaffAct.objects.filter(kind=ActKind.TOLD_BY_PHONE, created_at__gte=since, **so)
            return calls.filter(details=dispatch.said_by_phone(booking)).exists()
        case Telling.ASK:
            return booking.notifications.open().filter(asked_by=user.pk).exists()
    return True


def _stands_since(booking: Booking) -> dt.datetime:
    """When it was last moved or called off. When it was taken back is written down nowhere, but that was later."""
    acts = StaffAct.objects.filter(booking=booking, kind=ActKind.CALLED_OFF)
    called_off_at = acts.aggregate(at=Max("created_at"))["at"]
    moments = (booking.changed_at, booking.cancelled_at, called_off_at)
    return max(filter(None, moments), default=dt.datetime.min.replace(tzinfo=dt.UTC))


def example(booking: Booking) -> str:
    """The text about a move whose day is not chosen yet; about a cancelled delivery, that it is on again."""
    if booking.is_scheduled:
        where = messages.where_to_come(booking.language, is_new=True)
        return dispatch.what_is_told(booking, where, News.MOVED)
    again = Booking(reference=booking.reference, language=booking.language)
    where = messages.where_to_come(booking.language, is_new=False)
    return dispatch.what_is_told(again, where, News.PLANNED)
