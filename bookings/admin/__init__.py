"""The admin: what dispatch works with, and the history that nobody can change."""

from bookings.admin.batches import pages as batches
from bookings.admin.bookings import model_admin as bookings
from bookings.admin.consent import pages as consent
from bookings.admin.imports import pages as imports
from bookings.admin.messages import circuit, notifications
from bookings.admin.messages import model_admins as messages
from bookings.admin.slots import model_admin as slots
from bookings.admin.slots import weekly_pattern
from bookings.admin.staff import activity_log, users
from bookings.admin.tickets import queue as tickets

__all__ = [
    "activity_log",
    "batches",
    "bookings",
    "circuit",
    "consent",
    "imports",
    "messages",
    "notifications",
    "slots",
    "tickets",
    "users",
    "weekly_pattern",
]
