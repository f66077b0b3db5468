"""The admin: what dispatch works with, and the history that nobody can change."""

from bookings.admin import (
    acts,
    batches,
    bookings,
    circuit,
    consent,
    messages,
    notifications,
    slots,
    users,
)

__all__ = [
    "acts",
    "batches",
    "bookings",
    "circuit",
    "consent",
    "messages",
    "notifications",
    "slots",
    "users",
]
