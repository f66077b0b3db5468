"""How a page showed a booking, as a word that it carries: so that each page is carried out once, and on nothing else.

Whatever staff, a customer or an import does to the booking makes another word of it; a move or a cancellation for good,
also if it was taken back. So a page that is sent again, or that somebody else was faster than, is refused. Only a phone
number that was changed there and back gives the word of before.
"""

from collections.abc import Iterable

from django.db.models import Max
from django.utils.crypto import salted_hmac

from bookings.models import ActKind, Booking, SlotChange, StaffAct
from bookings.notifications.asking import lock_booking
from bookings.reporting.timeline import visible


def seen_words(bookings: Iterable[Booking]) -> dict[int, str]:
    """The word of each booking as it stands, by its id, in two queries. It tells no number."""
    bookings = list(bookings)
    moves = SlotChange.objects.filter(booking__in=bookings)
    cancellations = StaffAct.objects.filter(booking__in=bookings, kind=ActKind.CALLED_OFF)
    moved, cancelled = (
        dict(rows.order_by().values_list("booking").annotate(Max("pk")))
        for rows in (moves, cancellations)
    )
    return {
        one.pk: salted_hmac(
            "bookings.admin.shared.row_versions",
            f"{one.pk}-{one.slot_id}-{one.msisdn}-{one.state}"
            f"-{moved.get(one.pk)}-{cancelled.get(one.pk)}",
        ).hexdigest()
        for one in bookings
    }


def seen_word(booking: Booking) -> str:
    """The word of one booking."""
    return seen_words([booking])[booking.pk]


def changed_since(seen: str, booking: Booking) -> str:
    """What a page that showed it in this word does not know, as a sentence; "" if nothing.

    A page that carries no word is refused too. The customer's locks are taken, so that it holds until the end of the
    caller's transaction.
    """
    current = lock_booking(booking)
    if seen == seen_word(current):
        return ""
    where = f"on {current.slot}" if current.is_scheduled else "cancelled"
    return f"{visible(current.reference)} changed since the page was opened: it is now {where}."
