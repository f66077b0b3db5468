"""Reads the cells of a CSV or XLSX file as plain text, row by row. It knows nothing about bookings."""

import csv
import datetime as dt
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

_SEPARATORS = ",;\t"
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
#: Far more than a spreadsheet of bookings has. Why: a row may name a cell that is 16,000 columns away.
_MOST_COLUMNS = 100
#: The most bytes of an XLSX once it is unpacked: in all, and in a part that is held in memory whole.
_MOST_UNPACKED, _LARGEST_PART = 80 * 1024 * 1024, 2 * 1024 * 1024
_STREAMED = re.compile(r"xl/(?:worksheets/[^/]+|sharedStrings)\.xml|xl/media/.*")
#: The apostrophe that our exports put before a text that a spreadsheet would run (`export.cell`).
_GUARDED = re.compile(r"\A'(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
_BROKEN = "The file cannot be read as XLSX: save it again, or as CSV."


class ManifestError(Exception):
    """The file as a whole cannot be used. The text is a sentence for staff."""


def cells_of(content: bytes) -> Iterator[list[str]]:
    """Yield every row of the file, also the empty ones, so that rows are numbered as in a spreadsheet.

    CSV is UTF-8, UTF-16 with a mark, or else Windows-1252; commas, semicolons or tabs separate it.
    Of an XLSX it is the sheet that was in front when it was saved. Raises ManifestError.
    """
    if content.startswith(_OLD_EXCEL):
        raise ManifestError("This is a file of an old Excel: save it as XLSX or CSV.")
    return _xlsx(content) if content.startswith(_ZIP) else _csv(_decoded(content))


def _decoded(content: bytes) -> str:
    marked = (encoding for mark, encoding in _MARKS.items() if content.startswith(mark))
    for encoding in (next(marked, "utf-8"), "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ManifestError("The file is neither CSV nor XLSX. Save it as XLSX, or as CSV in UTF-8.")


def _csv(text: str) -> Iterator[list[str]]:
    # A reader that drops empty lines (as tablib's does) would misnumber those after them.
    header = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=header.count)
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            yield [_clean(cell) for cell in row]
    except csv.Error as error:
        raise ManifestError(f"The file cannot be read as CSV: {error}.") from error


def _xlsx(content: bytes) -> Iterator[list[str]]:
    try:
        _check_size(content)
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        for row in book.active.iter_rows(values_only=True, max_col=_MOST_COLUMNS):
            yield ["" if cell is None else _clean(_as_text(cell)) for cell in row]
    except (
        zipfile.BadZipFile,
        zlib.error,
        ParseError,
        InvalidFileException,
        AttributeError,
        NotImplementedError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        OSError,
    ) as error:
        raise ManifestError(_BROKEN) from error


def _check_size(content: bytes) -> None:
    """Refuse a small file that unpacks to gigabytes. zipfile never unpacks more than the file announces."""
    parts = zipfile.ZipFile(io.BytesIO(content)).infolist()
    held = [part.file_size for part in parts if not _STREAMED.fullmatch(part.filename)]
    if sum(part.file_size for part in parts) > _MOST_UNPACKED or max(held) > _LARGEST_PART:
        raise ManifestError(
            "The file is far larger inside than a list of deliveries: save it as CSV."
        )


def _clean(text: str) -> str:
    """Remove characters that cannot be seen, which a database or a phone would refuse, and our own apostrophe."""
    seen = "".join(char for char in text if char.isprintable() or char in "\n\t\xa0").strip()
    return _GUARDED.sub("", seen)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _moment(value: dt.datetime) -> str:
    return str(value) if value.time() != dt.time() else value.date().isoformat()


_WRITERS: dict[type, Callable[[Any], str]] = {
    float: _number,
    dt.datetime: _moment,
    dt.time: lambda value: value.isoformat("auto"),
}


def _as_text(value: object) -> str:
    return _WRITERS.get(type(value), str)(value)
