"""Lists as files for a spreadsheet, CSV or XLSX: with masked numbers, and no cell that it could run or ruin."""

import csv
import datetime as dt
import re
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import IO, Any

from django.db.models import QuerySet
from django.utils import timezone
from openpyxl import Workbook

from bookings.models import Booking, InboundMessage, OutboundMessage, Place
from bookings.models.outbound import with_answers
from bookings.reporting.masking import masked
from bookings.reporting.timeline import visible

#: More is refused. Rows are read so many at a time, so that a file of any length takes the same memory.
MOST_ROWS = 100_000
_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    fields: tuple[str, ...]
    show: Callable[..., object] = lambda value: value


def _plain(*columns: tuple[str, str]) -> list[_Column]:
    return [_Column(heading, (field,)) for heading, field in columns]


def _number(heading: str) -> _Column:
    return _Column(heading, ("msisdn",), masked)


def _slot(heading: str, path: str) -> _Column:
    names = ("date", "window_start", "window_end", "place")
    return _Column(heading, tuple(f"{path}__{name}" for name in names), _show_slot)


def _show_slot(date: dt.date | None, start: dt.time, end: dt.time, place: str) -> str:
    """`2026-11-24 09:00-12:00`, and the place if it is not the door."""
    if date is None:
        return ""
    where = "" if place == Place.DOOR else f", {Place(place).label}"
    return f"{date} {start:%H:%M}-{end:%H:%M}{where}"


def _seconds(came: dt.datetime, handed_over: dt.datetime | None) -> float | None:
    return None if handed_over is None else round((handed_over - came).total_seconds(), 1)


_COLUMNS: dict[Any, list[_Column]] = {
    Booking: [
        *_plain(("reference", "reference"), ("customer name", "customer_name")),
        _number("phone number"),
        *_plain(("date", "slot__date"), ("window start", "slot__window_start")),
        *_plain(("window end", "slot__window_end"), ("place", "slot__place"), ("state", "state")),
        *_plain(("language", "language"), ("booked at", "created_at")),
        *_plain(("cancelled at", "cancelled_at")),
    ],
    InboundMessage: [
        *_plain(("number", "pk"), ("received at", "received_at")),
        _number("from"),
        *_plain(("to", "virtual_number"), ("booking", "booking__reference")),
        *_plain(("customer name", "booking__customer_name"), ("language", "booking__language")),
        *_plain(("text", "text"), ("whole text", "whole"), ("reading", "reading")),
        *_plain(("rule", "rule"), ("matched", "matched"), ("option", "option__digit")),
        *_plain(("outcome", "outcome"), ("needs attention", "ticket__reason")),
        _slot("slot before", "slot_changes__from_slot"),
        _slot("slot after", "slot_changes__to_slot"),
        *_plain(("acknowledgement", "answer_text"), ("acknowledgement state", "answer_state")),
        *_plain(("acknowledged at", "answer_at")),
        _Column("seconds taken", ("received_at", "answer_at"), _seconds),
        *_plain(("gateway message id", "gateway_message_id")),
    ],
    OutboundMessage: [
        *_plain(("number", "pk"), ("queued at", "queued_at")),
        _number("to"),
        *_plain(("from", "sender"), ("booking", "booking__reference"), ("kind", "kind")),
        *_plain(("text", "text"), ("parts", "parts"), ("state", "state"), ("reason", "reason")),
        *_plain(("gateway", "gateway"), ("ref", "ref")),
    ],
}

#: What makes a spreadsheet run a cell: in any width, also after blanks.
_FORMULA = re.compile(r"[\s\0]*[=+\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]")
#: Words that a spreadsheet takes for a number or a date when it opens a CSV, and shows as something else. An ISO date
#: stays the day that it is.
_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_CHANGED = re.compile(
    r"(?!\d{4}-\d\d-\d\d\b)"
    rf"\s*(0\d+|\d{{12,}}|\d+(\.\d*)?e\d+|\d+\s*[./:-]\s*\d.*|\d+[ -]?{_MONTH}.*|{_MONTH}[ -]?\d+"
    r"|true|false)\s*",
    re.IGNORECASE,
)


def cell(value: object, *, is_csv: bool = False) -> str:
    """A value as the text of a cell: never a formula, and with control characters visible.

    Moments are in the company's zone, with its distance from UTC: `2026-11-24T09:05:00+00:00`. In a CSV, where a
    spreadsheet guesses, words that it would turn into a number or a date (`007`, `1/2`) get an apostrophe, too.
    """
    if isinstance(value, dt.datetime):
        return timezone.localtime(value).isoformat(timespec="seconds")
    text = "" if value is None else str(value)
    is_words = is_csv and isinstance(value, str)
    is_risky = _FORMULA.match(text) or (is_words and _CHANGED.fullmatch(text))
    return f"'{visible(text)}" if is_risky else visible(text)


def keys_of(rows: QuerySet[Any]) -> "array[int]":
    """The rows that are exported, in their order: at most one more than `MOST_ROWS`."""
    keys = rows.prefetch_related(None).values_list("pk", flat=True)
    return array("q", keys[: MOST_ROWS + 1].iterator(chunk_size=_AT_ONCE))


def as_csv(model: Any, keys: "array[int]", about: str) -> Iterator[bytes]:
    """The rows under a line that says what they are, piece by piece. UTF-8 with a mark, since Excel needs it."""
    yield "\N{ZERO WIDTH NO-BREAK SPACE}".encode()
    buffer = StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    for lines in _lines(model, keys, about):
        writer.writerows([[cell(value, is_csv=True) for value in line] for line in lines])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def as_xlsx(model: Any, keys: "array[int]", about: str) -> IO[bytes]:
    """The same as a workbook of one sheet, all of it text, in a file that is gone once it is closed."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Export")
    for lines in _lines(model, keys, about):
        for line in lines:
            sheet.append([cell(value) for value in line])
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    book.save(file)
    file.seek(0)
    return file


def _lines(model: Any, keys: "array[int]", about: str) -> Iterator[list[list[object]]]:
    """What stands above, then the rows some at a time: no statement runs long, and nothing is kept."""
    columns = _COLUMNS[model]
    yield [[about], [column.heading for column in columns]]
    for at in range(0, len(keys), _AT_ONCE):
        yield _read(model, keys[at : at + _AT_ONCE].tolist(), columns)


def _read(model: Any, keys: list[int], columns: list[_Column]) -> list[list[object]]:
    rows = model.objects.filter(pk__in=keys)
    if model is InboundMessage:
        rows = with_answers(rows)
    fields = {"pk", *(field for column in columns for field in column.fields)}
    found = {row["pk"]: row for row in rows.order_by().values(*fields)}
    return [
        [column.show(*(found[key][field] for field in column.fields)) for column in columns]
        for key in keys
        if key in found
    ]
