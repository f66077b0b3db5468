"""Lists as files for a spreadsheet, CSV or XLSX: bounded, with masked numbers, and no cell that can be a formula."""

import csv
import datetime as dt
import re
import tempfile
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from typing import IO, Any

from django.db.models import QuerySet
from django.utils import timezone
from openpyxl import Workbook

from bookings.history import visible
from bookings.models import Booking, InboundMessage, OutboundMessage
from bookings.numbers import masked

#: More is refused. So many take 4 s of a processor as CSV and 16 s as XLSX, and no memory to speak of.
MOST_ROWS = 100_000
_AT_ONCE = 500

#: (heading, field) by table.
_COLUMNS: dict[Any, list[tuple[str, str]]] = {
    Booking: [
        ("reference", "reference"),
        ("customer name", "customer_name"),
        ("phone number", "msisdn"),
        ("date", "slot__date"),
        ("window start", "slot__window_start"),
        ("window end", "slot__window_end"),
        ("place", "slot__place"),
        ("state", "state"),
        ("language", "language"),
        ("booked at", "created_at"),
        ("cancelled at", "cancelled_at"),
    ],
    InboundMessage: [
        ("number", "pk"),
        ("received at", "received_at"),
        ("from", "msisdn"),
        ("to", "virtual_number"),
        ("booking", "booking__reference"),
        ("text", "text"),
        ("whole text", "whole"),
        ("reading", "reading"),
        ("rule", "rule"),
        ("outcome", "outcome"),
        ("needs attention", "attention"),
        ("gateway message id", "gateway_message_id"),
    ],
    OutboundMessage: [
        ("number", "pk"),
        ("queued at", "queued_at"),
        ("to", "msisdn"),
        ("from", "sender"),
        ("booking", "booking__reference"),
        ("kind", "kind"),
        ("text", "text"),
        ("parts", "parts"),
        ("state", "state"),
        ("reason", "reason"),
        ("gateway", "gateway"),
        ("ref", "ref"),
    ],
}

#: What makes a spreadsheet run a cell: in any width, also after blanks.
_FORMULA = re.compile(r"[\s\0]*[=+\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]")


def cell(value: object) -> str:
    """A value as the text of a cell: never a formula, and with control characters visible.

    Moments are in the company's zone: `2026-11-24 09:05:00`.
    """
    if isinstance(value, dt.datetime):
        value = f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}"
    text = "" if value is None else str(value)
    return f"'{visible(text)}" if _FORMULA.match(text) else visible(text)


def as_csv(rows: QuerySet[Any], about: str) -> IO[bytes]:
    """A file with the rows under a line that says what they are. UTF-8 with a mark, since Excel needs it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    text = TextIOWrapper(file, encoding="utf-8-sig", newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(_lines(rows, about))
    text.detach()
    file.seek(0)
    return file


def as_xlsx(rows: QuerySet[Any], about: str) -> IO[bytes]:
    """The same as a workbook of one sheet, all of it text."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Export")
    for line in _lines(rows, about):
        sheet.append(line)
    file = tempfile.TemporaryFile()  # noqa: SIM115
    book.save(file)
    file.seek(0)
    return file


def _lines(rows: QuerySet[Any], about: str) -> Iterator[list[str]]:
    columns = _COLUMNS[rows.model]
    yield [cell(about)]
    yield [heading for heading, _ in columns]
    fields = [field for _, field in columns]
    hidden = fields.index("msisdn")
    values: Iterable[tuple[Any, ...]] = rows.values_list(*fields).iterator(chunk_size=_AT_ONCE)
    for row in values:
        shown = [*row[:hidden], masked(row[hidden]), *row[hidden + 1 :]]
        yield [cell(value) for value in shown]
