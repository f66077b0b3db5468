"""A lock with two queues, which are served by turns; within each, first come is first served."""

import threading
from collections import deque


class Turns:
    """A fair lock. A holder is any object; while it has the lock, asking again changes nothing.

    However long one queue is, the first of the other waits for one holder at the most.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._queues: tuple[deque[_Waiting], deque[_Waiting]] = (deque(), deque())
        self._served = 0  # the queue of the last holder
        self._holder: object | None = None

    def take(self, holder: object, seconds: float, queue: int = 0) -> bool:
        """Wait for the lock at the end of queue 0 or 1; False if it is not ours after so many seconds."""
        with self._guard:
            if self._holder is None:
                self._holder, self._served = holder, queue
            if self._holder is holder:
                return True
            waiting = _Waiting(holder)
            self._queues[queue].append(waiting)
        try:
            waiting.is_over.wait(seconds)
        finally:
            with self._guard:
                is_ours = self._holder is holder
                if not is_ours:
                    self._queues[queue].remove(waiting)
        return is_ours

    def give(self, holder: object) -> None:
        """Hand the lock to the next in line; nothing happens if this holder does not have it."""
        with self._guard:
            if self._holder is not holder:
                return
            self._holder = None
            other = 1 - self._served
            self._served = other if self._queues[other] else self._served
            if self._queues[self._served]:
                waiting = self._queues[self._served].popleft()
                self._holder = waiting.holder
                waiting.is_over.set()

    def is_held_by(self, holder: object) -> bool:
        """Return True if this holder has the lock."""
        return self._holder is holder


class _Waiting:
    """A holder to be, in its queue."""

    def __init__(self, holder: object) -> None:
        self.holder = holder
        self.is_over = threading.Event()


#: For the threads of this process, the right to write to SQLite. A holder is a database connection.
writing = Turns()
#: The queue of the webhooks. All else is in the other: the sender, and what staff do.
WEBHOOKS = 1
