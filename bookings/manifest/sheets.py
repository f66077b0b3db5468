"""The cells of a CSV or XLSX file as plain text, row by row. Knows nothing of deliveries."""

import csv
import datetime as dt
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

import tablib
from tablib.exceptions import TablibException

_SEPARATORS = ",;\t"
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_ZIP = b"PK\x03\x04"


class ManifestError(Exception):
    """The file as a whole cannot be used. The text is a sentence for dispatch."""


def cells_of(content: bytes) -> Iterator[list[str]]:
    """Every row of the file, also the empty ones, so that they can be counted as a spreadsheet does.

    CSV is UTF-8, UTF-16 with a mark, or else Windows-1252; commas, semicolons or tabs separate it.
    Raises ManifestError.
    """
    return _xlsx(content) if content.startswith(_ZIP) else _csv(_decoded(content))


def _decoded(content: bytes) -> str:
    marked = (encoding for mark, encoding in _MARKS.items() if content.startswith(mark))
    for encoding in (next(marked, "utf-8"), "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ManifestError("The file is neither CSV nor XLSX.")


def _csv(text: str) -> Iterator[list[str]]:
    # Not tablib's reader: it drops empty lines, and the lines after them would be misnumbered.
    header = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=header.count)
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            yield [_clean(cell) for cell in row]
    except csv.Error as error:
        raise ManifestError(f"The file cannot be read as CSV: {error}.") from error


def _xlsx(content: bytes) -> Iterator[list[str]]:
    try:
        sheet = tablib.Dataset().load(io.BytesIO(content), format="xlsx", headers=False)
    except (
        zipfile.BadZipFile,
        ParseError,
        TablibException,
        KeyError,
        ValueError,
        OSError,
    ) as error:
        raise ManifestError("The file cannot be read as XLSX: save it again, or as CSV.") from error
    for row in sheet:
        yield [_clean(_as_text(cell)) for cell in row]


def _clean(text: str) -> str:
    """Without what cannot be seen, which a database or a phone would not take either."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t\xa0").strip()


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _moment(value: dt.datetime) -> str:
    return str(value) if value.time() != dt.time() else value.date().isoformat()


_WRITERS: dict[type, Callable[[Any], str]] = {
    float: _number,
    dt.datetime: _moment,
    dt.time: lambda value: value.isoformat("auto"),
    type(None): lambda value: "",
}


def _as_text(value: object) -> str:
    return _WRITERS.get(type(value), str)(value)
