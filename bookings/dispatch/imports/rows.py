"""The rows of a spreadsheet: each becomes a value, or a remark that says what is wrong with it and where."""

import datetime as dt
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError

from bookings.dispatch.imports import dates, phones
from bookings.dispatch.imports.sheets import ManifestError, cells_of
from bookings.models import Place
from bookings.models.fields import check_reference
from bookings.scheduling.slots import SlotKey

REQUIRED = ("reference", "customer_name", "phone", "date", "window_start", "window_end")
OPTIONAL = ("place", "language", "notes", "capacity")
COLUMNS = (*REQUIRED, *OPTIONAL)

#: More rows would take too long, and are more than a day's work of any depot.
MOST_ROWS = 20_000
_MOST_LINES = 100_000  # with the empty ones, of which a spreadsheet may have a million


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """A sentence for staff about one row. The header is row 1."""

    line: int
    reason: str
    cells: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"row {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One delivery as the spreadsheet has it. None means that the spreadsheet does not say."""

    line: int
    reference: str
    customer_name: str
    msisdn: str
    slot: SlotKey
    language: str | None = None
    notes: str | None = None
    capacity: int | None = None
    repaired: str = ""  # the repair of its phone number, as a sentence

    @classmethod
    def of(cls, line: int, reference: str, record: Mapping[str, Any]) -> "Row":
        """Return the row that has this `record`."""
        start, end = map(dt.time.fromisoformat, (record["window_start"], record["window_end"]))
        return cls(
            line=line,
            reference=reference,
            customer_name=record["customer_name"],
            msisdn=record["phone"],
            slot=SlotKey(dt.date.fromisoformat(record["date"]), start, end, record["place"]),
            language=record["language"],
            notes=record["notes"],
            capacity=record["capacity"],
        )

    @property
    def cells(self) -> dict[str, str]:
        """The cells of the row, without those that the spreadsheet does not have."""
        record = self.record | {"reference": self.reference, "phone": f"+{self.msisdn}"}
        return {name: str(record[name]) for name in COLUMNS if record[name] is not None}

    @property
    def record(self) -> dict[str, str | int | None]:
        """The row as it is remembered in `Booking.imported`."""
        return {
            "phone": self.msisdn,
            "date": self.slot.date.isoformat(),
            "window_start": f"{self.slot.start:%H:%M}",
            "window_end": f"{self.slot.end:%H:%M}",
            "place": self.slot.place,
            "customer_name": self.customer_name,
            "language": self.language,
            "notes": self.notes,
            "capacity": self.capacity,
        }


Entry: TypeAlias = Row | Remark


def read(content: bytes) -> list[Entry]:
    """Read every row of a CSV or XLSX file, or what is wrong with it. Empty rows are left out.

    Raises ManifestError if the file as a whole cannot be used.
    """
    rows = cells_of(content)
    header = _checked([re.sub(r"[\s-]+", "_", cell.lower()) for cell in next(rows, [])])
    entries: list[Entry] = []
    for line, row in enumerate(rows, start=2):
        if any(row):
            entries.append(parse_row(line, header, row))
        if len(entries) > MOST_ROWS:
            raise ManifestError(f"The file has more than {MOST_ROWS:,} rows: split it.")
        if line > _MOST_LINES:
            raise ManifestError("The file has too many empty rows: delete them.")
    return entries


def parse_row(line: int, header: list[str], row: list[str]) -> Entry:
    """Return the row as a value, or a remark with everything that is wrong with it."""
    cells = dict(zip(header, row, strict=False))
    if any(row[len(header) :]):
        reason = "More cells than the header. Is a text with a comma unquoted?"
        return Remark(line, reason, cells)
    values: dict[str, Any] = {}
    faults = []
    for name, parse in _PARSERS.items():
        try:
            values[name] = parse(cells)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        return Remark(line, " ".join(faults), cells)
    values["msisdn"], repaired = values["msisdn"]
    return Row(line=line, repaired=repaired, **values)


def _checked(header: list[str]) -> list[str]:
    if not any(header):
        raise ManifestError(f"The file is empty. Its first row must be: {', '.join(REQUIRED)}.")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise ManifestError(
            f"The first row must name the columns. Missing: {', '.join(missing)}."
            f" Expected: {', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}."
        )
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise ManifestError(f"There are two columns named {twice[0]}.")
    for name in header:
        likely = difflib.get_close_matches(name, set(COLUMNS) - set(header), n=1, cutoff=0.8)
        if name not in COLUMNS and likely:
            raise ManifestError(f"Unknown column {name!r}. Did you mean {likely[0]}?")
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


def _phone(cells: Mapping[str, str]) -> tuple[str, str]:
    return phones.read(cells.get("phone", ""))


def _slot_key(cells: Mapping[str, str]) -> SlotKey:
    date = dates.read_date(cells.get("date", ""))
    start, end = (
        dates.read_time(cells.get(name, ""), name.replace("_", " "))
        for name in ("window_start", "window_end")
    )
    if end <= start:
        raise ValueError(f"The window must end after it starts: {start:%H:%M} to {end:%H:%M}.")
    return SlotKey(date, start, end, _place(cells))


def _place(cells: Mapping[str, str]) -> str:
    text = re.sub(r"[\s-]+", "_", cells.get("place", "").lower()) or Place.DOOR.value
    if text not in Place.values:
        raise ValueError(
            f"Place {cells['place'][:40]!r} not recognised. Use {' or '.join(Place.values)}."
        )
    return text


def _language(cells: Mapping[str, str]) -> str | None:
    text = cells.get("language", "").lower().replace("_", "-")
    if text and not re.fullmatch(r"[a-z]{2,3}(-[a-z]{2,4})?", text):
        raise ValueError(f"Language {text[:40]!r} not recognised. Use a code such as en.")
    return text or None


def _notes(cells: Mapping[str, str]) -> str | None:
    return cells.get("notes")


def _capacity(cells: Mapping[str, str]) -> int | None:
    text = cells.get("capacity", "").removesuffix(".0")
    if text and not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise ValueError(
            f"Capacity {text[:40]!r} not recognised. Use a whole number, or leave it empty."
        )
    return int(text) if text else None


_PARSERS: dict[str, Callable[[Mapping[str, str]], Any]] = {
    "reference": _reference,
    "customer_name": _customer_name,
    "msisdn": _phone,
    "slot": _slot_key,
    "language": _language,
    "notes": _notes,
    "capacity": _capacity,
}
