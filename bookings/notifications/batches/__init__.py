"""Batches: many customers asked in one step, with a preview, pace, pause and cancel."""

from bookings.notifications.batches.running import (
    ask_waiting,
    cancel_batch,
    pause_batch,
    resume_batch,
    start_batch,
    withdraw_cancelled,
)

__all__ = [
    "MOST_BOOKINGS",
    "ask_waiting",
    "cancel_batch",
    "pause_batch",
    "resume_batch",
    "start_batch",
    "withdraw_cancelled",
]

#: The most bookings of one batch.
MOST_BOOKINGS = 10_000
