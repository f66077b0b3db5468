"""Asking many customers in one step: what it would come to, starting it, and seeing it through."""

from bookings.notifications.batches.asking import ask_waiting
from bookings.notifications.batches.running import cancel, pause, resume, start, withdraw_cancelled

__all__ = [
    "MOST_BOOKINGS",
    "ask_waiting",
    "cancel",
    "pause",
    "resume",
    "start",
    "withdraw_cancelled",
]

#: How many bookings one batch takes.
MOST_BOOKINGS = 10_000
