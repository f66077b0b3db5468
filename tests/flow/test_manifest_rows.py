"""Reading a manifest: each row becomes a value, or a remark that a dispatcher understands."""

import datetime as dt
import io
from typing import Any

import pytest
from openpyxl import Workbook

from bookings.dispatch.imports import ManifestError, read
from bookings.models import Place
from tests.flow.sheets import (
    DAY,
    HEADER,
    as_csv,
    as_xlsx,
    refused,
    row,
    said_of,
    taken,
    value_in,
)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(as_csv(row(name="Zoë")).encode(), id="UTF-8"),
        pytest.param(as_csv(row(name="Zoë")).encode("utf-8-sig"), id="UTF-8 with a mark"),
        pytest.param(as_csv(row(name="Zoë")).encode("utf-16"), id="UTF-16"),
        pytest.param(as_csv(row(name="Zoë")).encode("cp1252"), id="Windows"),
        pytest.param(as_csv(row(name="Zoë"), separator=";").encode(), id="semicolons"),
        pytest.param(as_csv(row(name="Zoë"), separator="\t").encode(), id="tabs"),
        pytest.param(as_xlsx(row(name="Zoë")), id="XLSX of texts"),
        pytest.param(
            as_xlsx(["A1", "Zoë", 447700900001.0, DAY, dt.time(9), dt.time(12)]),
            id="XLSX of values",
        ),
        pytest.param(
            as_csv(row(name="Zoë"), header=[" Reference", "Customer name", *HEADER[2:]]).encode(),
            id="a header as people write it",
        ),
    ],
)
def test_a_row_is_read_from_any_usual_file(content):
    entry = value_in(content)
    assert (entry.line, entry.reference, entry.customer_name) == (2, "A1", "Zoë")
    assert entry.msisdn == "447700900001"
    assert (entry.slot.date, entry.slot.start, entry.slot.end) == (
        DAY,
        dt.time(9),
        dt.time(12),
    )
    assert (entry.slot.place, entry.language, entry.notes, entry.capacity) == (
        "door",
        None,
        None,
        None,
    )


def test_the_optional_columns_are_read():
    header = [*HEADER, "place", "language", "notes", "capacity"]
    entry = taken(*row(), "Post office", "EN-gb", "two\nlines", "20", header=header)
    assert (entry.slot.place, entry.language) == (Place.POST_OFFICE, "en-gb")
    assert (entry.notes, entry.capacity) == ("two\nlines", 20)


def test_lines_are_numbered_as_a_spreadsheet_does():
    text = as_csv(row("A1")) + "\r\n,,,,,\r\n" + as_csv(row("A2")).partition("\n")[2]
    assert [entry.line for entry in read(text.encode())] == [2, 5]


@pytest.mark.parametrize(
    ("phone", "msisdn"),
    [
        ("07700900001", "447700900001"),
        ("7700900001", "447700900001"),
        ("7700900001.0", "447700900001"),
        ("447700900001", "447700900001"),
        ("447700900001.0", "447700900001"),
        ("'+44 7700 900001", "447700900001"),
        ("(07700) 900-001", "447700900001"),
        ("+1 202 555 0123", "12025550123"),
        ("004915112345678", "4915112345678"),
    ],
)
def test_a_phone_number_that_has_one_reading_is_taken(phone, msisdn):
    assert taken(*row(phone=phone)).msisdn == msisdn


@pytest.mark.parametrize(
    ("phone", "words"),
    [
        ("", "row 2: The phone number is missing."),
        ("0712", "row 2: 0712 is too short for a phone number."),
        ("4.47E+11", "rounded"),
        ("4,47E+11", "rounded"),
        ("12025550123", "too long"),
        ("2025550123", "leading 0 or + is missing"),
        ("202 555-0123", "leading 0 or + is missing"),
        ("0800 FLOWERS", "not a phone number"),
        ("07700900001/07700900002", "not a phone number"),
        ("none", "not a phone number"),
    ],
)
def test_a_phone_number_that_is_not_certain_is_refused_with_the_reason(phone, words):
    assert words in refused(*row(phone=phone))


def test_us_number_without_a_leading_zero_is_taken(settings):
    settings.PHONE_REGION = "US"
    assert taken(*row(phone="2025550123")).msisdn == "12025550123"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"reference": ""}, "reference is missing"),
        ({"reference": "R" * 41}, "longer than 40"),
        ({"name": "N" * 121}, "longer than 120"),
        ({"date": "20261124"}, "not recognised"),
        ({"date": "2026-02-30"}, "not recognised"),
        ({"date": "soon"}, "Date 'soon' not recognised. Use 2026-11-24 or 24 Nov 2026."),
        ({"date": ""}, "The date is missing."),
        ({"start": "9am"}, "Window start '9am' not recognised. Use 09:00."),
        ({"end": "24:00"}, "Window end '24:00' not recognised"),
        ({"start": "12:00"}, "The window must end after it starts: 12:00 to 12:00."),
    ],
)
def test_a_bad_cell_is_refused_with_the_reason(changed, words):
    assert words in refused(*row(**changed))


@pytest.mark.parametrize(
    "date",
    [
        *("2026-11-24", "2026/11/24", "2026.11.24", "24.11.2026", "24 Nov 2026", "24 nov. 2026"),
        *(
            "24 November 2026",
            "24th November, 2026",
            "Tue 24 Nov 2026",
            "Tuesday, 24 NOVEMBER 2026",
        ),
        *("24-Nov-2026", "24/Nov/2026", "24. November 2026"),
    ],
)
def test_a_date_with_one_reading_is_taken(date):
    assert taken(*row(date=date)).slot.date == dt.date(2026, 11, 24)


def test_dots_put_the_day_first():
    assert taken(*row(date="4.11.2026")).slot.date == dt.date(2026, 11, 4)


TWO_WAYS = "is ambiguous: "
BUT_OTHERS = "is ambiguous for other dates written this way. Use "


@pytest.mark.parametrize(
    ("date", "words"),
    [
        (
            "04/11/2026",
            f"{TWO_WAYS}4 November 2026 or 11 April 2026? Use 2026-11-04 or 2026-04-11.",
        ),
        ("4-11-2026", f"{TWO_WAYS}4 November 2026 or 11 April 2026?"),
        ("24/11/2026", f"{BUT_OTHERS}2026-11-24."),
        ("11/24/2026", f"{BUT_OTHERS}2026-11-24."),
        ("04/04/2026", f"{BUT_OTHERS}2026-04-04."),
        ("31/31/2026", "not recognised"),
        ("24/11/26", "not recognised"),
        ("24 Nov 26", "not recognised"),
        ("24 Nov", "not recognised"),
        ("24.13.2026", "not recognised"),
        ("31 Feb 2026", "not recognised"),
        ("24 Smarch 2026", "not recognised"),
        ("Foo 24 Nov 2026", "not recognised"),
        ("Wed 24 Nov 2026", "contradicts itself: 24 November 2026 is a Tuesday."),
        ("46350", "not recognised"),
        ("2026-11-24 10:30:00", "not recognised"),
        ("24 Nov 1026", "not recognised"),
        ("2026-11/24", "not recognised"),
    ],
)
def test_ambiguous_date_is_refused_with_the_accepted_format(date, words):
    said = refused(*row(date=date))
    assert said.startswith("row 2: ")
    assert words in said


@pytest.mark.parametrize("start", ["9:00", "09:00", "09:00:00", "9:00:00"])
def test_a_time_with_a_colon_is_taken(start):
    assert taken(*row(start=start)).slot.start == dt.time(9)


@pytest.mark.parametrize("start", ["9.00", "9.30", "9h", "0900", "9", "09:00:30", "9:0", "9:00 pm"])
def test_a_time_without_one_reading_is_refused(start):
    assert "not recognised. Use 09:00." in refused(*row(start=start))


@pytest.mark.parametrize("style", ["dd/mm/yyyy", "mm-dd-yy", "yyyy-mm-dd"])
def test_a_cell_that_excel_holds_as_a_date_is_that_date_however_it_is_shown(style):
    book = Workbook()
    sheet: Any = book.active
    sheet.append(HEADER)
    sheet.append(["A1", "Ann", "07700 900001", dt.date(2026, 11, 4), dt.time(9), dt.time(12)])
    sheet["D2"].number_format = style
    book.save(content := io.BytesIO())
    assert value_in(content.getvalue()).slot.date == dt.date(2026, 11, 4)


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("place", "garage", "Place 'garage' not recognised"),
        ("language", "../x", "not recognised. Use a code"),
        ("capacity", "many", "Capacity 'many' not recognised"),
        ("capacity", "-1", "Capacity '-1' not recognised"),
    ],
)
def test_a_bad_optional_cell_is_refused_with_the_reason(column, text, words):
    assert words in refused(*row(), text, header=[*HEADER, column])


def test_row_reports_all_its_errors_at_once():
    said = refused(*row(reference="", phone="0712", date="soon"))
    assert "reference is missing" in said
    assert "too short" in said
    assert "not recognised" in said


def test_an_unquoted_comma_is_not_taken_for_the_next_column():
    text = as_csv() + f"A1,Ann, Jr,07700900001,{DAY},09:00,12:00\r\n"
    assert "More cells than the header" in said_of(text.encode())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "empty. Its first row must be: reference", id="empty"),
        pytest.param(
            as_csv(header=HEADER[:-1]).encode(), "Missing: window_end", id="column missing"
        ),
        pytest.param(as_csv(header=[*HEADER, "phone"]).encode(), "two columns", id="column twice"),
        pytest.param(
            as_csv(header=[*HEADER, "langauge"]).encode(), "Did you mean language", id="misspelt"
        ),
        pytest.param(b"PK\x03\x04 no zip", "XLSX", id="broken XLSX"),
        pytest.param(b"\x81\x8d\x8f", "neither CSV nor XLSX", id="no text"),
        pytest.param(as_csv().encode() + b"x" * 200_000, "CSV", id="a cell without end"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused_as_a_whole(content, words):
    with pytest.raises(ManifestError, match=words):
        read(content)
