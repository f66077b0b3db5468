"""A spreadsheet is handed in on a page: what cannot be used is refused with a sentence, the rest is read."""

import io
import zipfile

import pytest
from django.urls import reverse
from openpyxl import Workbook

from bookings.dispatch.imports import MOST_ROWS
from bookings.models import Booking, Manifest
from tests.flow.admin.pages import url
from tests.flow.admin.uploading import carry_out, fault_of, handed_in, page
from tests.flow.sheets import DAY, HEADER, as_csv, as_xlsx, row

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("", "empty", id="nothing"),
        pytest.param(as_csv(), "no rows", id="header alone"),
        pytest.param("name,phone\nAnn,1\n", "Missing: reference", id="columns"),
        pytest.param("name,phone\nAnn,1\n", "Expected: reference, customer_name", id="expected"),
        pytest.param(as_csv(row()).encode("utf-16-le"), "neither CSV nor XLSX", id="encoding"),
        pytest.param(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "old Excel", id="xls"),
        pytest.param(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n\0", "neither CSV nor XLSX", id="PDF"),
        pytest.param(b"PK\x03\x04", "cannot be read as XLSX", id="broken"),
        pytest.param(b"a" * (5 * 1024 * 1024 + 1), "larger than 5 MB", id="too large"),
        pytest.param(
            as_csv(*[["x"] * 6] * (MOST_ROWS + 1)), "more than 20,000 rows", id="too long"
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_sentence(dispatcher, content, words):
    assert words in fault_of(dispatcher, content)


def test_without_a_file_one_is_asked_for(dispatcher):
    response = dispatcher.post(url(Manifest, "add"))
    assert "Choose a file first." in response.content.decode()


def workbook(**parts):
    """A good XLSX in which parts are replaced."""
    bomb = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(as_xlsx(row()))) as good,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for name in good.namelist():
            file.writestr(name, parts.get(name.split("/")[-1].split(".")[0], good.read(name)))
    return bomb.getvalue()


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"sheet1": b" " * (90 * 1024 * 1024)}, id="a sheet of 90 MB"),
        pytest.param({"styles": b" " * (3 * 1024 * 1024)}, id="styles of 3 MB"),
    ],
)
def test_a_zip_bomb_is_refused_before_it_is_unpacked(dispatcher, parts):
    content = workbook(**parts)
    assert len(content) < 200_000
    assert "far larger inside" in fault_of(dispatcher, content, "week.xlsx")


def test_a_row_a_million_rows_down_does_not_keep_the_server_busy(dispatcher):
    book = Workbook()
    book.active.append(HEADER)
    book.active.append(row())
    book.active["A1000000"] = "x"
    file = io.BytesIO()
    book.save(file)
    assert "empty rows" in fault_of(dispatcher, file.getvalue(), "week.xlsx")


def test_spreadsheet_values_are_read_and_repairs_are_reported(dispatcher):
    content = as_xlsx(
        row("A1", phone=447700900001.0, date=DAY),
        row("A2", phone="4.47700900002E+11"),
        row("A3", phone="4.47E+11"),
        row("A4", phone=7700900004),
    )
    manifest = handed_in(dispatcher, content, "week.xlsx")
    shown = page(dispatcher, manifest)
    assert "3 will be imported, 1 row rejected" in shown
    assert "4.47E+11 was rounded by the spreadsheet" in shown
    assert "Leading + restored: +44 •••••• 0001." in shown
    assert "Scientific notation expanded: +44 •••••• 0002." in shown
    assert "Leading 0 restored: +44 •••••• 0004." in shown
    carry_out(dispatcher, manifest)
    phones = dict(Booking.objects.values_list("reference", "msisdn"))
    assert phones == {"A1": "447700900001", "A2": "447700900002", "A4": "447700900004"}


def test_the_example_can_be_imported_as_it_is(dispatcher):
    example = dispatcher.get(reverse("admin:bookings_manifest_example")).content
    assert "2 will be imported, 0 rows rejected" in page(dispatcher, handed_in(dispatcher, example))
