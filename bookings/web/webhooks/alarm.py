"""The alarm for many refused webhook requests: the secret was changed at Vonage, or somebody is guessing.

The count is kept in each process's memory, because unauthenticated requests must not reach the database.
"""

import threading
from collections import deque
from datetime import datetime, timedelta

#: The alarm starts above this number of refusals within this time; scanners cause a few every day.
MOST = 10
WITHIN = timedelta(minutes=10)


class RefusalAlarm:
    """Counts refused requests. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: deque[datetime] = deque(maxlen=MOST + 1)
        self._rang_at: datetime | None = None

    def rings(self, now: datetime) -> bool:
        """Count one refusal. Return True if the alarm starts now; at most once in ten minutes."""
        with self._lock:
            self._refused.append(now)
            is_burst = len(self._refused) > MOST and now - self._refused[0] <= WITHIN
            is_told = self._rang_at is not None and now - self._rang_at < WITHIN
            if not is_burst or is_told:
                return False
            self._rang_at = now
            return True

    def is_ringing(self, now: datetime) -> bool:
        """Return True if the alarm started less than ten minutes ago in this process."""
        with self._lock:
            return self._rang_at is not None and now - self._rang_at < WITHIN
