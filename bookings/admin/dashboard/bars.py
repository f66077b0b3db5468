"""What is counted, how it is shown, and the address of its list."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.timesince import timesince


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing counted, and the list of what was counted. `share` is the length of its bar in percent."""

    label: str
    value: Any
    link: str = ""
    note: str = ""
    share: int = 0
    is_bad: bool = False


def list_of(model: type[Any], **asked: Any) -> str:
    """The address of a list, filtered."""
    address = reverse(f"admin:bookings_{model.__name__.lower()}_changelist")
    return f"{address}?{urlencode(asked)}" if asked else address


def how_long(since: dt.datetime, now: dt.datetime) -> str:
    is_short = now - since < dt.timedelta(minutes=1)
    return "less than a minute" if is_short else timesince(since, now, depth=1)


def age(word: str, since: dt.datetime | None, now: dt.datetime) -> str:
    return f"{word} {how_long(since, now)}" if since else ""


def share_of(count: int, total: int) -> int:
    return round(100 * count / total) if total else 0


def bars(counted: Iterable[tuple[str, int, str]]) -> list[Figure]:
    rows = list(counted)
    most = max((count for _, count, _ in rows), default=0)
    return [Figure(label, count, link, share=share_of(count, most)) for label, count, link in rows]
