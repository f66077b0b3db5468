"""How a customer learns of what dispatch did to a delivery: by SMS, by phone, by a new question, or not at all."""

from typing import TYPE_CHECKING

from django.db import models

from bookings import dispatch, notifications, texts
from bookings.dispatch import CannotTell, News
from bookings.models import Booking

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
                notifications.notify(booking, user=user)
            except notifications.CannotNotify as error:
                raise CannotTell(str(error)) from None


def example(booking: Booking) -> str:
    """The text about a move whose day is not chosen yet; about a cancelled delivery, that it is on again."""
    if booking.is_scheduled:
        where = texts.where_to_come(booking.language, is_new=True)
        return dispatch.what_is_told(booking, where, News.MOVED)
    again = Booking(reference=booking.reference, language=booking.language)
    where = texts.where_to_come(booking.language, is_new=False)
    return dispatch.what_is_told(again, where, News.PLANNED)
