"""A clock in the company's time zone, for tests to set."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.utils import timezone


def wall(text: str) -> dt.datetime:
    """Return a time such as `2026-11-23 10:00` in the company's zone."""
    return timezone.make_aware(dt.datetime.fromisoformat(text))


def clock_at(time_machine: Any, text: str) -> Callable[[str], None]:
    """Stop the clock at this time, and return a function that sets it to another."""

    def set_to(text: str) -> None:
        time_machine.move_to(wall(text), tick=False)

    set_to(text)
    return set_to
