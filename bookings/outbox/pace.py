"""Limits the rate of sending, for the account and for each number, shared by all workers. Database time."""

import datetime as dt

from django.conf import settings
from django.db import connection

from bookings.models import Pace

#: The most that may be sent at once after a pause, in seconds' worth of the rate.
_BURST_SECONDS = 0.2


def database_now() -> dt.datetime:
    """The time by the database's clock, which all workers share."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            found: dt.datetime = cursor.fetchone()[0]
            return found
        cursor.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')")
        return dt.datetime.fromisoformat(cursor.fetchone()[0])


class Allowance:
    """The messages that the rates allow at this moment. Locks the rows of the pace until the transaction ends."""

    def __init__(self) -> None:
        self.now = database_now()
        rates = {"": settings.SMS_RATE_PER_SECOND}
        if settings.SMS_RATE_PER_NUMBER:
            rates |= dict.fromkeys(settings.VONAGE_NUMBERS, settings.SMS_RATE_PER_NUMBER)
        self._intervals = {sender: dt.timedelta(seconds=1 / rate) for sender, rate in rates.items()}
        self._rows = {row.sender: row for row in _locked(list(rates), self.now)}

    def left(self, sender: str = "") -> int:
        """Return the messages that may be sent now from this number. A number without a rate has the account's."""
        if sender not in self._rows:
            return self.left()
        interval = self._intervals[sender]
        return max(0, int((self.now - self._start(sender)) / interval))

    def take(self, sender: str) -> bool:
        """Use up one message of this number's rate and the account's. Returns False if none is left."""
        keys = {"", sender} & set(self._rows)
        if not all(self.left(key) for key in keys):
            return False
        for key in keys:
            self._rows[key].next_at = self._start(key) + self._intervals[key]
        return True

    def exhausted(self) -> list[str]:
        """The numbers whose own rate allows nothing now."""
        return [sender for sender in self._rows if sender and not self.left(sender)]

    def wait(self) -> dt.timedelta:
        """Return the time until the account's rate, or that of an exhausted number, allows another message."""
        senders = [""] if not self.left() else self.exhausted()
        ends = [self._start(sender) + self._intervals[sender] for sender in senders]
        return max(min(ends, default=self.now) - self.now, dt.timedelta())

    @property
    def is_paused(self) -> bool:
        """Return True if the gateway asked for a pause: only then does `next_at` lie in the future."""
        return self._rows[""].next_at > self.now

    def save(self) -> None:
        for row in self._rows.values():
            row.save(update_fields=["next_at"])

    def _start(self, sender: str) -> dt.datetime:
        interval = self._intervals[sender]
        burst = max(interval, dt.timedelta(seconds=_BURST_SECONDS))
        return max(self._rows[sender].next_at, self.now - burst)


def _locked(senders: list[str], now: dt.datetime) -> list[Pace]:
    rows = Pace.objects.filter(sender__in=senders).order_by("sender").select_for_update()
    found = list(rows)
    if len(found) < len(senders):
        long_ago = now - dt.timedelta(days=1)
        Pace.objects.bulk_create(
            [Pace(sender=sender, next_at=long_ago) for sender in senders], ignore_conflicts=True
        )
        found = list(rows.all())
    return found


def slow_down(wait: dt.timedelta) -> None:
    """Pause sending for this time, because the gateway says that we are too fast. Never shortens a pause."""
    until = database_now() + wait
    Pace.objects.filter(sender="", next_at__lt=until).update(next_at=until)
