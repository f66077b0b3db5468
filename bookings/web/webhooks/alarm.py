"""The alarm that goes off when many requests are refused: the secret was changed at Vonage, or somebody is trying.

It lives in the memory of each process, since nothing may be asked of the database before a request is proven.
"""

import threading
from collections import deque
from datetime import datetime, timedelta

#: So many refused in this time are still no alarm: probes, and scanners who pass by.
MOST = 10
WITHIN = timedelta(minutes=10)


class RefusalAlarm:
    """Counts refused requests. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: deque[datetime] = deque(maxlen=MOST + 1)
        self._rang_at: datetime | None = None

    def rings(self, now: datetime) -> bool:
        """Count one more; True if they are too many, and not again for ten minutes."""
        with self._lock:
            self._refused.append(now)
            is_burst = len(self._refused) > MOST and now - self._refused[0] <= WITHIN
            is_told = self._rang_at is not None and now - self._rang_at < WITHIN
            if not is_burst or is_told:
                return False
            self._rang_at = now
            return True

    def is_ringing(self, now: datetime) -> bool:
        """Whether it rang less than ten minutes ago: in this process, since strangers may write to no database."""
        with self._lock:
            return self._rang_at is not None and now - self._rang_at < WITHIN
