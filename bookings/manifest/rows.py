"""A manifest's rows: each becomes a value, or a remark that says what is wrong with it and where."""

import datetime as dt
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import phonenumbers
from django.conf import settings
from django.core.exceptions import ValidationError

from bookings.manifest.sheets import ManifestError, cells_of
from bookings.models import Place, Slot
from bookings.models.fields import E164_PATTERN, check_reference, parse_msisdn
from bookings.models.schedule import EARLIEST, LATEST

REQUIRED = ("reference", "customer_name", "phone", "date", "window_start", "window_end")
OPTIONAL = ("place", "language", "notes", "capacity")


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """What there is to say about one row, for dispatch. The header is row 1."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """What a slot is known by: a local date, wall-clock times, a place."""

    date: dt.date
    start: dt.time
    end: dt.time
    place: str

    @classmethod
    def of(cls, slot: Slot) -> "Window":
        return cls(slot.date, slot.window_start, slot.window_end, slot.place)

    def new_slot(self, capacity: int | None = None) -> Slot:
        """A slot with this window, unsaved."""
        return Slot(
            date=self.date,
            window_start=self.start,
            window_end=self.end,
            place=self.place,
            capacity=capacity,
        )

    def __str__(self) -> str:
        return str(self.new_slot())


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One delivery as the spreadsheet has it. None: the spreadsheet does not say."""

    line: int
    reference: str
    customer_name: str
    msisdn: str
    window: Window
    language: str | None = None
    notes: str | None = None
    capacity: int | None = None

    @property
    def record(self) -> dict[str, str | int | None]:
        """The row as it is remembered in `Booking.imported`."""
        return {
            "phone": self.msisdn,
            "date": self.window.date.isoformat(),
            "window_start": f"{self.window.start:%H:%M}",
            "window_end": f"{self.window.end:%H:%M}",
            "place": self.window.place,
            "customer_name": self.customer_name,
            "language": self.language,
            "notes": self.notes,
            "capacity": self.capacity,
        }


Entry: TypeAlias = Row | Remark


def read(content: bytes) -> list[Entry]:
    """Every row of a CSV or XLSX file, or what is wrong with it. Empty rows are left out.

    Raises ManifestError if the file as a whole cannot be used.
    """
    rows = cells_of(content)
    header = _checked([re.sub(r"[\s-]+", "_", cell.lower()) for cell in next(rows, [])])
    return [parse_row(line, header, row) for line, row in enumerate(rows, start=2) if any(row)]


def parse_row(line: int, header: list[str], row: list[str]) -> Entry:
    """The row as a value, or all that is wrong with it."""
    if any(row[len(header) :]):
        return Remark(line, "It has more cells than the header: is a text with a comma unquoted?")
    cells = dict(zip(header, row, strict=False))
    values: dict[str, Any] = {}
    faults = []
    for name, parse in _PARSERS.items():
        try:
            values[name] = parse(cells)
        except ValueError as error:
            faults.append(str(error))
    return Remark(line, " ".join(faults)) if faults else Row(line=line, **values)


def _checked(header: list[str]) -> list[str]:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise ManifestError(f"The first row must name the columns. Missing: {', '.join(missing)}.")
    known = (*REQUIRED, *OPTIONAL)
    for name in header:
        if name in known and header.count(name) > 1:
            raise ManifestError(f"There are two columns named {name}.")
        likely = difflib.get_close_matches(name, set(known) - set(header), n=1, cutoff=0.8)
        if name not in known and likely:
            raise ManifestError(f"There is a column {name}: did you mean {likely[0]}?")
    return header


def _reference(cells: Mapping[str, str]) -> str:
    reference = _short("reference", 40, cells, least=1)
    try:
        check_reference(reference)
    except ValidationError as error:
        raise ValueError(error.message) from None
    return reference


def _customer_name(cells: Mapping[str, str]) -> str:
    return _short("customer_name", 120, cells)


def _short(name: str, longest: int, cells: Mapping[str, str], *, least: int = 0) -> str:
    text = " ".join(cells.get(name, "").split())
    if not least <= len(text) <= longest:
        fault = f"is longer than {longest} characters" if text else "is missing"
        raise ValueError(f"The {name.replace('_', ' ')} {fault}.")
    return text


def _phone(cells: Mapping[str, str]) -> str:
    """E.164 digits. What a spreadsheet did to a number is repaired only where one reading is left."""
    text = cells.get("phone", "").removeprefix("'").strip()
    if not text:
        raise ValueError("The phone number is missing.")
    if re.fullmatch(r"[\d.,]+[eE]\+?\d+", text):
        raise ValueError(
            f"{text} is a phone number that the spreadsheet rounded: make the column text, and"
            " enter it again."
        )
    if any(char.isalpha() for char in text):
        raise ValueError(f"{text[:40]} is not a phone number.")
    if sum(char.isdigit() for char in text) in range(1, 7):
        raise ValueError(f"{text[:40]} is too short for a phone number.")
    bare = re.sub(r"\.0$", "", text)
    msisdn = _parsed(bare)
    if bare.isdecimal() and not bare.startswith("0") and _without_trunk_zero(bare) != msisdn:
        raise ValueError(
            f"{bare} may have lost its first 0 or its +, which makes two different numbers: write"
            " it with + and the country code."
        )
    return msisdn


def _parsed(text: str) -> str:
    try:
        msisdn = parse_msisdn(text)
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from None
    if not re.match(E164_PATTERN, msisdn):
        raise ValueError(f"{text[:40]} is not a phone number.")
    return msisdn


def _without_trunk_zero(digits: str) -> str:
    """The number that bare digits mean if it was a plus that got lost; else the one they mean here.

    Only where national numbers are written with a 0 in front can either have been lost.
    """
    here = _parsed(digits)
    if phonenumbers.ndd_prefix_for_region(settings.PHONE_REGION, strip_non_digits=True) != "0":
        return here
    try:
        return _parsed(f"+{digits}")
    except ValueError:
        return here


def _window(cells: Mapping[str, str]) -> Window:
    date, start, end = _date(cells), _time("window_start", cells), _time("window_end", cells)
    if end <= start:
        raise ValueError(f"The window must end after it starts: {start:%H:%M} to {end:%H:%M}.")
    return Window(date, start, end, _place(cells))


def _date(cells: Mapping[str, str]) -> dt.date:
    text = cells.get("date", "")
    is_written_so = re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII)
    try:
        date = dt.date.fromisoformat(text if is_written_so else "")
    except ValueError:
        raise ValueError(_no("date", text, "2026-11-24")) from None
    if not EARLIEST <= date <= LATEST:
        raise ValueError(_no("date", text, "2026-11-24"))
    return date


def _time(name: str, cells: Mapping[str, str]) -> dt.time:
    text = cells.get(name, "")
    found = re.fullmatch(r"(\d{1,2}:\d\d)(?::00)?", text, re.ASCII)
    try:
        return dt.time.fromisoformat(found[1].zfill(5) if found else "")
    except ValueError:
        raise ValueError(_no(name.replace("_", " "), text, "09:00")) from None


def _no(what: str, text: str, example: str) -> str:
    return (
        f"{text[:40]!r} is no {what}: write it like {example}."
        if text
        else f"The {what} is missing."
    )


def _place(cells: Mapping[str, str]) -> str:
    text = re.sub(r"[\s-]+", "_", cells.get("place", "").lower()) or Place.DOOR.value
    if text not in Place.values:
        raise ValueError(f"{cells['place'][:40]!r} is no place: write {' or '.join(Place.values)}.")
    return text


def _language(cells: Mapping[str, str]) -> str | None:
    text = cells.get("language", "").lower().replace("_", "-")
    if text and not re.fullmatch(r"[a-z]{2,3}(-[a-z]{2,4})?", text):
        raise ValueError(f"{text[:40]!r} is no language: write it like en.")
    return text or None


def _notes(cells: Mapping[str, str]) -> str | None:
    return cells.get("notes")


def _capacity(cells: Mapping[str, str]) -> int | None:
    text = cells.get("capacity", "").removesuffix(".0")
    if text and not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is no capacity: write a whole number, or nothing.")
    return int(text) if text else None


_PARSERS: dict[str, Callable[[Mapping[str, str]], Any]] = {
    "reference": _reference,
    "customer_name": _customer_name,
    "msisdn": _phone,
    "window": _window,
    "language": _language,
    "notes": _notes,
    "capacity": _capacity,
}
