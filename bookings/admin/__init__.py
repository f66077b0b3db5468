"""The admin: what dispatch works with, and the history that nobody can change."""

from bookings.admin import (
    acts,
    batches,
    bookings,
    circuit,
    concerns,
    consent,
    manifests,
    messages,
    notifications,
    slots,
    users,
    weeks,
)

__all__ = [
    "acts",
    "batches",
    "bookings",
    "circuit",
    "concerns",
    "consent",
    "manifests",
    "messages",
    "notifications",
    "slots",
    "users",
    "weeks",
]
