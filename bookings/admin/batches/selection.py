"""Which bookings a batch is for, as a page or an address names them: ticked ones, a manifest's, or a day's."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac

from bookings.admin.shared.columns import show_day
from bookings.admin.shared.guard import is_key
from bookings.models import Booking, Manifest
from bookings.notifications.batches import MOST_BOOKINGS


@dataclass(frozen=True, slots=True)
class Picked:
    """Bookings, where they came from, and the field that names them again."""

    bookings: QuerySet[Booking]
    name: str
    field: tuple[str, str]

    @property
    def word(self) -> str:
        """Another word whenever it is other bookings."""
        keys = self.bookings.order_by("pk").values_list("pk", flat=True)
        return salted_hmac("bookings.admin.batches.selection", ",".join(map(str, keys))).hexdigest()

    def problem(self, most: int) -> str:
        """Why no batch can be made of them, as a sentence; "" if one can."""
        count = self.bookings.order_by()[: most + 1].count()
        if not count and not self.field[1]:
            return "Select bookings first, then choose “Notify customers …” above the list."
        if not count:
            return "No matching bookings, so nobody was notified."
        if count > most:
            return (
                f"Nothing was sent: at most {most:,} bookings can be notified at once."
                " Select fewer, for example by day or by slot."
            )
        return ""


def picked(named: Mapping[str, str]) -> Picked:
    """What `bookings`, `manifest` or `day` names; nothing if that is nonsense."""
    if manifest := _manifest(named.get("manifest", "")):
        bookings = Booking.objects.scheduled().filter(manifests=manifest)
        return Picked(bookings, f"manifest {manifest.name}"[:80], ("manifest", str(manifest.pk)))
    if day := _day(named.get("day", "")):
        bookings = Booking.objects.scheduled().on(day)
        return Picked(bookings, f"deliveries of {show_day(day)}", ("day", day.isoformat()))
    keys = (int(key) for key in named.get("bookings", "").split(",") if is_key(key))
    return ticked(list(dict.fromkeys(keys))[: MOST_BOOKINGS + 1])


def ticked(keys: list[int]) -> Picked:
    """Bookings that were chosen in their list."""
    name = f"{len(keys):,} chosen booking{'s' * (len(keys) != 1)}"
    field = ("bookings", ",".join(map(str, keys)))
    return Picked(Booking.objects.filter(pk__in=keys), name, field)


def senders() -> list[str]:
    """Our numbers that customers can reply to; the first is the usual one."""
    numbers: list[str] = settings.VONAGE_NUMBERS
    return [number for number in numbers if number.isdecimal()] or numbers[:1]


def _manifest(key: str) -> Manifest | None:
    found = Manifest.objects.defer("content", "refusals").filter(pk=key) if is_key(key) else None
    return found.first() if found is not None else None


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None
