"""A small file of deliveries to import: some rows are accepted, some are refused."""

import csv
import datetime as dt
import io

import phonenumbers
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from bookings.web.accounts.access import staff_only
from bookings.web.demo import fiction, is_demo

_HEADER = ("reference", "customer_name", "phone", "date", "window_start", "window_end", "notes")
#: Reference, name, days from today, window, notes, and what is wrong with the row.
_ROWS: tuple[tuple[str, str, int, str, str, str, dict[str, str]], ...] = (
    ("PX-2041", "Mina Carter", 3, "08:00", "12:00", "", {}),
    ("PX-2042", "Leo Hughes", 3, "08:00", "12:00", "Ring twice.", {}),
    ("PX-2043", "Ivy Watson", 3, "12:00", "16:00", "", {}),
    ("PX-2044", "Noah Ali", 4, "12:00", "16:00", "", {}),
    ("PX-2045", "Ruby Scott", 4, "16:00", "20:00", "Two parcels.", {}),
    ("PX-2046", "Max Green", 3, "08:00", "12:00", "", {"phone": "12"}),
    ("PX-2047", "Ada King", 3, "08:00", "12:00", "", {"window_start": "8am"}),
    ("PX-2041", "Mina Carter", 5, "08:00", "12:00", "The same again.", {}),
    ("PX-2048", "Sid Moore", -1, "08:00", "12:00", "", {}),
)


@require_GET
@staff_only("bookings.add_manifest")
def download(request: HttpRequest) -> HttpResponse:
    """Send the file, with dates of the coming days. 404 outside the demo."""
    if not is_demo():
        raise Http404("There is no demo here.")
    headers = {"Content-Disposition": 'attachment; filename="deliveries.csv"'}
    return HttpResponse(content(timezone.localdate()), content_type="text/csv", headers=headers)


def content(today: dt.date) -> str:
    """Return the file as CSV, with phone numbers as they are written in their own country."""
    file = io.StringIO()
    writer = csv.DictWriter(file, _HEADER)
    writer.writeheader()
    numbers = fiction.mobiles()[-len(_ROWS) :]
    for msisdn, (reference, name, ahead, start, end, notes, fault) in zip(
        numbers, _ROWS, strict=True
    ):
        number = phonenumbers.parse(f"+{msisdn}")
        phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        values = (reference, name, phone, today + dt.timedelta(days=ahead), start, end, notes)
        writer.writerow(dict(zip(_HEADER, values, strict=True)) | fault)
    return file.getvalue()
