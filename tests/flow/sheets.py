"""Manifests for tests, and their import results."""

import csv
import io

from openpyxl import Workbook

from bookings.dispatch.imports import Remark, Row, import_rows, read
from bookings.models import Booking, Notification, OutboundMessage, Slot
from tests.factories import (
    in_days,
)

HEADER = ["reference", "customer_name", "phone", "date", "window_start", "window_end"]
DAY, NEXT_DAY, LATER = in_days(3), in_days(4), in_days(5)


def row(reference="A1", phone="07700 900001", date=DAY, start="09:00", end="12:00", name="Ann"):
    return [reference, name, phone, f"{date}", start, end]


def crowd():
    """Return rows with a capacity for a slot of 4 that holds A0 to A3: some fit, others do not or are invalid."""
    return [
        [*row("B1"), ""],
        [*row("B2"), ""],
        [*row("B3"), ""],
        [*row("B4"), ""],  # no room left
        [*row("B5", date=in_days(-2)), ""],  # past
        [*row("B6", date=in_days(6)), "1"],
        [*row("B7", date=in_days(6)), "1"],  # no room
        [*row("B8", date=NEXT_DAY), "9"],  # another capacity
    ]


def as_csv(*rows, header=HEADER, separator=","):
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([header, *rows])
    return text.getvalue()


def as_xlsx(*rows, header=HEADER):
    book, content = Workbook(), io.BytesIO()
    for cells in (header, *rows):
        book.active.append(list(cells))
    book.save(content)
    return content.getvalue()


def entries(*rows, header=HEADER):
    return read(as_csv(*rows, header=header).encode())


def load(*rows, header=HEADER, **options):
    return import_rows(entries(*rows, header=header), **options)


def counts(report):
    kept, refused = len(report.kept), len(report.refused)
    return report.created, report.changed, report.unchanged, kept, refused


def everything():
    return [
        list(model.objects.order_by("pk").values())
        for model in (Booking, Slot, Notification, OutboundMessage)
    ]


def refused(*cells, header=HEADER):
    """Return the reason for refusing the only row."""
    return said_of(as_csv(cells, header=header).encode())


def said_of(content):
    (entry,) = read(content)
    assert isinstance(entry, Remark)
    return str(entry)


def taken(*cells, header=HEADER):
    """Return the only row as a value."""
    return value_in(as_csv(cells, header=header).encode())


def value_in(content):
    (entry,) = read(content)
    assert isinstance(entry, Row)
    return entry
