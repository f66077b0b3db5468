"""Lists as files: what stands in them, that no cell can be a formula, and that each is written down."""

import csv
import datetime as dt
import tracemalloc
from contextlib import closing
from io import BytesIO, StringIO
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone
from openpyxl import load_workbook

from bookings.models import (
    ActKind,
    Booking,
    InboundMessage,
    Kind,
    MessageState,
    OutboundMessage,
    StaffAct,
)
from bookings.reporting import export
from tests.factories import (
    BookingFactory,
    InboundMessageFactory,
    NotificationFactory,
    OutboundMessageFactory,
    SlotChangeFactory,
    SlotFactory,
)
from tests.flow.admin.pages import login, url

pytestmark = pytest.mark.django_db

KINDS = ["csv", "xlsx"]
EXPORTED = [Booking, InboundMessage, OutboundMessage]

HOSTILE = {
    "equals": "=1+1",
    "plus": "+44 123",
    "minus": "-2+3",
    "at": "@SUM(A1)",
    "tab": "\t=1",
    "carriage return": "\r=1",
    "line feed": "\n=1",
    "blanks before": "   =1+1",
    "a hard blank before": "\u00a0=1+1",
    "a wide equals": "\uff1d1+1",
    "a wide at": "\uff20SUM(A1)",
    "a call": '=HYPERLINK("http://evil.example","click")',
    "DDE": "=cmd|' /C calc'!A0",
}
#: What a spreadsheet shows as it is.
HARMLESS = {
    "words": "2 please",
    "quotes and commas": 'say "hi", then; go',
    "two lines": "one\ntwo",
    "an equals inside": "a=b",
    "emoji": "\U0001f44d\u200d\u2640",
    "an error's name": "#N/A",
}
#: What a spreadsheet would turn into a number or a date when it opens a CSV.
CHANGED = ["007", "1/2", "2 Dec", "1e5", "447700900001", "1-2", "26.11", "10:30"]
#: What no XLSX can hold, or nobody can see.
INVISIBLE = {
    "bell": ("ring\x07", "ring[U+0007]"),
    "right to left": ("a\u202eb", "a[U+202E]b"),
    "no character": ("a\uffffb\ufffe", "a[U+FFFF]b[U+FFFE]"),
    "escape": ("\x1b[2J", "[U+001B][2J"),
}


def ask(client: Client, model, kind: str, rows, **more):
    keys = [row.pk for row in rows]
    act = {"action": f"export_{kind}", "_selected_action": keys}
    return client.post(url(model, "changelist"), act | more)


def lines(response, kind: str) -> list[list[str]]:
    """The file as a spreadsheet reads it."""
    content = b"".join(response.streaming_content)
    if kind == "csv":
        return list(csv.reader(StringIO(content.decode("utf-8-sig"), newline="")))
    sheet = load_workbook(BytesIO(content)).active
    assert sheet is not None
    cells = [cell for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} <= {
        "s",
        "e",
    }  # text; "#N/A" is read as an error's name
    return [["" if cell is None else str(cell) for cell in row] for row in sheet.values]


def exported(client: Client, model, kind: str, rows) -> list[dict[str, str]]:
    _, headings, *table = lines(ask(client, model, kind, rows), kind)
    return [dict(zip(headings, row, strict=True)) for row in table]


def exported_texts(client: Client, kind: str, texts) -> list[str]:
    rows = [InboundMessageFactory.create(text=text) for text in texts]
    found = {row["number"]: row["text"] for row in exported(client, InboundMessage, kind, rows)}
    return [found[str(row.pk)] for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_becomes_a_formula(kind, ops):
    for text, shown in zip(
        HOSTILE.values(), exported_texts(ops, kind, HOSTILE.values()), strict=True
    ):
        assert shown.startswith("'")
        assert shown[1:].replace("[U+0009]", "\t").replace("[U+000D]", "\r") == text


def test_a_text_that_begins_with_nul_is_no_formula():
    # No database holds one, so it cannot come by a webhook.
    assert export.cell("\0=1") == "'[U+0000]=1"


@pytest.mark.parametrize("kind", KINDS)
def test_other_texts_come_as_they_are(kind, ops):
    assert exported_texts(ops, kind, HARMLESS.values()) == list(HARMLESS.values())


def test_words_that_a_spreadsheet_would_change_stay_words(ops):
    assert exported_texts(ops, "csv", CHANGED) == [f"'{text}" for text in CHANGED]
    assert exported_texts(ops, "xlsx", CHANGED) == CHANGED  # cells that are text


@pytest.mark.parametrize("kind", KINDS)
def test_export_makes_invisible_characters_visible(kind, ops):
    texts, shown = zip(*INVISIBLE.values(), strict=True)
    assert exported_texts(ops, kind, texts) == list(shown)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("model", "heading"),
    [(Booking, "phone number"), (InboundMessage, "from"), (OutboundMessage, "to")],
)
def test_numbers_are_masked_and_text(kind, model, heading, ops):
    booking = BookingFactory.create(msisdn="447700912345")
    InboundMessageFactory.create(booking=booking)
    OutboundMessageFactory.create(booking=booking)
    response = ask(ops, model, kind, model.objects.all())
    content = lines(response, kind)
    assert dict(zip(content[1], content[2], strict=True))[heading] == "'+44 •••••• 2345"
    assert "7700912345" not in str(content)


@pytest.mark.parametrize("kind", KINDS)
def test_text_typed_by_staff_is_exported_as_no_formula(kind, ops):
    booking = BookingFactory.create(customer_name="=1+1", reference="812")
    (row,) = exported(ops, Booking, kind, [booking])
    assert (row["reference"], row["customer name"]) == ("812", "'=1+1")
    assert row["date"] == f"{booking.slot.date:%Y-%m-%d}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_that_a_filter_finds_is_exported_and_the_filter_stands_in_the_file(kind, ops):
    for _ in range(60):  # more than a page of the list
        NotificationFactory.create(booking__slot=SlotFactory.create(capacity=None))
    BookingFactory.create(reference="NOT-ASKED")
    first = Booking.objects.order_by("pk")[:1]
    act = {"action": f"export_{kind}", "_selected_action": [first[0].pk], "select_across": "1"}

    response = ops.post(f"{url(Booking, 'changelist')}?asked=waiting&q=P-", act)

    about, _, *table = lines(response, kind)
    assert len(table) == 60
    assert "asked=waiting, q=P-" in about[0]
    assert response.headers["Content-Disposition"] == f'attachment; filename="bookings.{kind}"'
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_button_above_the_list_exports_everything_that_the_filter_shows(kind, ops):
    for _ in range(60):  # more than a page of the list
        InboundMessageFactory.create(text="2")
    InboundMessageFactory.create(text="no thanks", outcome="not_understood")
    address = url(InboundMessage, "changelist")
    assert (
        'action="export/?outcome__exact=moved'
        in ops.get(f"{address}?outcome__exact=moved").content.decode()
    )

    response = ops.post(f"{address}export/?outcome__exact=moved", {"kind": kind})

    about, headings, *table = lines(response, kind)
    assert len(table) == 60
    assert {row[headings.index("outcome")] for row in table} == {"moved"}
    for words in ("outcome__exact=moved", "60 rows", response.wsgi_request.user.username):
        assert words in about[0]
    assert StaffAct.objects.get().details == (
        f"{kind}: inbound messages, 60 rows of the list with outcome__exact=moved"
    )


def test_nonsense_in_the_address_of_an_export_exports_nothing(ops):
    address = f"{url(InboundMessage, 'changelist')}export/?received_from=yesterday"
    assert ops.post(address, {"kind": "csv"}).url.endswith("?e=1")
    assert not StaffAct.objects.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_reply_export_has_the_move_and_the_response_time(kind, ops):
    came = timezone.now()
    change = SlotChangeFactory.create(
        inbound=InboundMessageFactory.create(received_at=came), cause="reply"
    )
    OutboundMessageFactory.create(
        in_reply_to=change.inbound,
        kind=Kind.ACKNOWLEDGEMENT,
        text="Moved.",
        state=MessageState.DELIVERED,
        call_started_at=came + dt.timedelta(seconds=2),
    )
    (row,) = exported(ops, InboundMessage, kind, [change.inbound])
    assert row["slot before"] == f"{change.from_slot.date} 09:00-12:00"
    assert row["slot after"] == f"{change.to_slot.date} 09:00-12:00"
    assert (row["acknowledgement"], row["acknowledgement state"]) == ("Moved.", "delivered")
    assert row["seconds taken"] == "2.0"
    assert dt.datetime.fromisoformat(row["received at"]) == came.replace(microsecond=0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_written_down(kind, ops):
    rows = [InboundMessageFactory.create() for _ in range(3)]
    response = ask(ops, InboundMessage, kind, rows)
    assert len(lines(response, kind)) == 5
    act = StaffAct.objects.get()
    assert (act.kind, act.user.username) == (ActKind.EXPORTED, response.wsgi_request.user.username)
    assert act.details == f"{kind}: inbound messages, 3 rows of the whole list"


@pytest.mark.parametrize(
    "written",
    ["07700912345", "07700 912 345", "07700-912345", "+44-7700/912.345", "(07700)\u00a0912345"],
)
def test_export_record_masks_the_searched_number(written, ops):
    inbound = InboundMessageFactory.create(msisdn="447700912345")
    act = {"action": "export_csv", "_selected_action": [inbound.pk]}
    query = urlencode({"q": written, "received_at__year": 2026})
    InboundMessage.objects.update(received_at=dt.datetime(2026, 6, 1, tzinfo=dt.UTC))
    about = lines(ops.post(f"{url(InboundMessage, 'changelist')}?{query}", act), "csv")[0][0]
    assert "q=••••2345, received_at__year=2026" in about
    assert "q=a search, received_at__year=2026" in StaffAct.objects.get().details


def test_export_record_omits_the_searched_name(ops):
    """What staff did is kept for ever, and names are not."""
    booking = BookingFactory.create(customer_name="Ada Lovelace")
    act = {"action": "export_csv", "_selected_action": [booking.pk]}
    response = ops.post(f"{url(Booking, 'changelist')}?q=Lovelace", act)
    assert "q=Lovelace" in lines(response, "csv")[0][0]
    assert "Lovelace" not in StaffAct.objects.get().details


@pytest.mark.parametrize("model", EXPORTED, ids=lambda model: model.__name__)
@pytest.mark.parametrize(
    ("group", "may"), [("Dispatch", False), ("Ops", True), ("Auditor", True), ("superuser", True)]
)
def test_export_needs_the_permission(group, may, model):
    inbound = InboundMessageFactory.create(booking=BookingFactory.create())
    OutboundMessageFactory.create(booking=inbound.booking)
    client = login(group)
    page = client.get(url(model, "changelist")).content.decode()
    for kind in KINDS:
        assert (f'value="export_{kind}"' in page) is may
        response = ask(client, model, kind, model.objects.all())
        assert response.streaming is may
        if may:
            assert len(lines(response, kind)) > 2
    assert StaffAct.objects.count() == 2 * may


def test_more_rows_than_a_file_takes_are_refused_in_a_sentence(ops, monkeypatch):
    monkeypatch.setattr(export, "MOST_ROWS", 2)
    rows = [InboundMessageFactory.create() for _ in range(3)]
    page = ops.get(ask(ops, InboundMessage, "csv", rows).url).content.decode()
    assert "Nothing was exported: at most 2 rows can be exported at once" in page
    assert not StaffAct.objects.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_list_is_not_held_in_memory(kind):
    text = "word " * 400
    InboundMessage.objects.bulk_create(
        InboundMessage(msisdn="447700900001", text=text) for _ in range(6_000)
    )

    def write(rows) -> None:
        make = {"csv": export.as_csv, "xlsx": export.as_xlsx}[kind]
        made: Any = make(InboundMessage, export.keys_of(rows), "about")
        with closing(made) as file:
            for _ in file:
                pass

    write(InboundMessage.objects.all()[:10])
    tracemalloc.start()
    write(InboundMessage.objects.order_by("pk"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6_000 * len(text)  # the texts alone would be as much
