"""The admin: what dispatch works with, and the history that nobody can change."""

from bookings.admin import (
    acts,
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
