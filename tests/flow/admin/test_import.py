"""A spreadsheet is handed in on a page, looked at, imported slice by slice, and told of for ever."""

import csv
import datetime as dt
import io
import zipfile
from html import escape

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from openpyxl import Workbook

from bookings import dispatch
from bookings.manifest import MOST_ROWS, import_rows, importing, read, slices
from bookings.models import ActKind, Booking, Manifest, ManifestState, Slot, SlotChange, StaffAct
from tests.factories import SlotFactory, UserFactory, in_days
from tests.flow.admin.pages import login, url
from tests.flow.sheets import DAY, HEADER, NEXT_DAY, as_csv, as_xlsx, everything, row

pytestmark = pytest.mark.django_db

FULL = [*HEADER, "capacity"]


def hand_in(client, content, name="week.csv"):
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    file.name = name
    return client.post(url(Manifest, "add"), {"file": file})


def handed_in(client, content, name="week.csv"):
    response = hand_in(client, content, name)
    assert response.status_code == 302, response.context["fault"]
    return Manifest.objects.get(pk=int(response.url.split("/")[-3]))


def page(client, manifest):
    return client.get(url(Manifest, "change", manifest.pk)).content.decode()


def press(client, manifest, **headers):
    """The button of its page, with or without a script."""
    return client.post(reverse("admin:bookings_manifest_import", args=[manifest.pk]), **headers)


def carry_out(client, manifest):
    while manifest.state != ManifestState.DONE:
        assert press(client, manifest).status_code == 302
        manifest.refresh_from_db()
    return manifest


def fault_of(client, content, name="week.csv"):
    response = hand_in(client, content, name)
    assert response.status_code == 200
    assert not Manifest.objects.exists()
    return response.context["fault"]


def week():
    """212 good rows, and nine that each are wrong in another way."""
    good = [row(f"W{n}", phone=f"+4477009{n:05d}", date=in_days(3 + n % 2)) for n in range(212)]
    bad = [row(f"X{n}") for n in range(9)]
    phones = ["0712", "4.47E+11", "", "0800 FLOWERS", "2025550123", "12025550123", "none"]
    for cells, phone in zip(bad, phones, strict=False):
        cells[2] = phone
    bad[7][3] = "24/11/2026"
    bad[8][0] = "W1"
    return as_csv(*good[:100], *bad, *good[100:])


# The acceptance of F15


def test_f15_212_will_be_imported_9_rows_refused_and_the_same_file_again_changes_nothing(
    dispatcher,
):
    manifest = handed_in(dispatcher, week())
    assert "212 will be imported, 9 rows refused" in page(dispatcher, manifest)
    assert not Booking.objects.exists()
    carry_out(dispatcher, manifest)
    assert "212 imported, 9 rows refused" in page(dispatcher, manifest)
    assert Booking.objects.count() == 212
    before = everything()
    again = handed_in(dispatcher, week())
    shown = page(dispatcher, again)
    assert "Nothing to import, 9 rows refused" in shown
    assert "Import 0" not in shown
    carry_out(dispatcher, again)
    assert everything() == before
    assert again.counts == {
        "created": 0,
        "changed": 0,
        "unchanged": 212,
        "kept": 0,
        "refused": 9,
        "repaired": 0,
    }


# Handing it in


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


def test_a_spreadsheets_own_values_are_read_and_what_was_repaired_is_said(dispatcher):
    content = as_xlsx(
        row("A1", phone=447700900001.0, date=DAY),
        row("A2", phone="4.47700900002E+11"),
        row("A3", phone="4.47E+11"),
        row("A4", phone=7700900004),
    )
    manifest = handed_in(dispatcher, content, "week.xlsx")
    shown = page(dispatcher, manifest)
    assert "3 will be imported, 1 row refused" in shown
    assert "4.47E+11 is a phone number that the spreadsheet rounded" in shown
    assert "The phone number had no +: it was read as +44 •••••• 0001." in shown
    assert "power of ten, with all its digits: it was read as +44 •••••• 0002." in shown
    assert "had lost its first 0: it was read as +44 •••••• 0004." in shown
    carry_out(dispatcher, manifest)
    phones = dict(Booking.objects.values_list("reference", "msisdn"))
    assert phones == {"A1": "447700900001", "A2": "447700900002", "A4": "447700900004"}


def test_the_example_can_be_imported_as_it_is(dispatcher):
    example = dispatcher.get(reverse("admin:bookings_manifest_example")).content
    assert "2 will be imported, 0 rows refused" in page(dispatcher, handed_in(dispatcher, example))


# Looking at it


def test_a_change_is_shown_with_what_was_before_and_numbers_are_masked(dispatcher):
    import_rows(read(as_csv(row("A1")).encode()))
    changed = row("A1", date=NEXT_DAY, phone="07700900009", name="Beth")
    shown = page(dispatcher, handed_in(dispatcher, as_csv(changed)))
    for words in (
        f"slot {DAY:%a %-d %b %Y} 09:00-12:00 → {NEXT_DAY:%a %-d %b %Y} 09:00-12:00",
        "phone number +44 •••••• 0001 → +44 •••••• 0009",
        "name Ann → Beth",
    ):
        assert words in shown
    assert Booking.objects.get().customer_name == "Ann"


def test_a_hostile_name_of_a_file_or_customer_is_only_text(dispatcher):
    content = as_csv(row("A1", name="<script>alert(1)</script>", date="<b>"))
    shown = page(dispatcher, handed_in(dispatcher, content, "<img src=x>\u202e.csv"))
    assert "<img src=x" not in shown
    assert "<b>" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("back 07700900123.csv", "back ••••0123.csv"),
        ("+44 7700 900123.xlsx", "••••0123.xlsx"),
        ("x447700900123_2.csv", "x••••1232.csv"),
        ("route_2026-11-24_2.csv", "route_2026-11-24_2.csv"),
        ("20261124_1.csv", "20261124_1.csv"),
        ("route 2026-11-24 (1).csv", "route 2026-11-24 (1).csv"),
        ("9" * 200, "••••9999"),
        ("2026-11-24 van 4.csv", "2026-11-24 van 4.csv"),
        ("route-20261124.csv", "route-20261124.csv"),
        ("route 20261124-0730.csv", "route ••••0730.csv"),
        ("20261399.csv", "••••1399.csv"),
    ],
)
def test_a_number_in_the_name_of_a_file_is_kept_masked_and_a_date_as_it_is(dispatcher, name, shown):
    content = as_csv(row("A1")).encode()
    manifest = handed_in(dispatcher, as_xlsx(row("A1")) if "xlsx" in name else content, name)
    assert manifest.name == shown
    for client in (dispatcher, login("Auditor")):
        assert shown in page(client, manifest)
        assert shown in client.get(url(Manifest, "changelist")).content.decode()


def test_whoever_only_reads_sees_no_number_that_was_refused(dispatcher):
    manifest = handed_in(dispatcher, as_csv(row("A1", phone="2025550123")))
    assert "2025550123" in page(dispatcher, manifest)
    shown = page(login("Auditor"), manifest)
    assert "2025550123" not in shown
    assert "0123 may have lost" in shown
    assert "Download the refused" not in shown


def test_whoever_imports_and_may_reveal_no_number_sees_those_of_their_own_files(dispatcher):
    importers = UserFactory.create_batch(2)
    rights = ("view_manifest", "add_manifest")
    for user in importers:
        user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    own, other = Client(), Client()
    own.force_login(importers[0])
    other.force_login(importers[1])
    manifest = handed_in(own, as_csv(row("A1", phone="2025550123")))
    refused = reverse("admin:bookings_manifest_refused", args=[manifest.pk])

    assert "2025550123" in page(own, manifest)
    assert "2025550123" in own.post(refused).content.decode()

    shown = page(other, manifest)
    assert "2025550123" not in shown
    assert "Download the refused" not in shown
    assert other.post(refused).status_code == 403
    assert "2025550123" in dispatcher.post(refused).content.decode()


@pytest.mark.parametrize("date", ["04/11/2026", "24-11-2026", "24/11/26", "2026-11-24 10:30:00"])
def test_whoever_only_reads_sees_the_date_that_was_refused(dispatcher, date):
    manifest = handed_in(dispatcher, as_csv(row("A1", date=date)))
    (reason,) = [each["reason"] for each in manifest.refusals]
    assert date in reason
    assert escape(reason) in page(login("Auditor"), manifest)


def test_whoever_only_reads_sees_the_slot_that_is_full(dispatcher):
    slot = SlotFactory.create(date=DAY, capacity=0)
    manifest = handed_in(dispatcher, as_csv(row("A1")))
    assert f"The slot {slot} is closed." in page(login("Auditor"), manifest)


# Importing it


def busy_week():
    """What is there, and a file that creates, changes, keeps, leaves and refuses."""
    SlotFactory.create(date=DAY, capacity=4)
    import_rows(read(as_csv(*[row(f"A{number}") for number in range(4)]).encode()))
    dispatch.move(Booking.objects.get(reference="A1"), SlotFactory.create(date=NEXT_DAY))
    dispatch.cancel(Booking.objects.get(reference="A3"))
    return as_csv(
        [*row("B1"), ""],
        [*row("B2"), ""],
        [*row("B3"), ""],
        [*row("B4"), ""],  # no room left
        [*row("B5", date=in_days(-2)), ""],  # past
        [*row("B6", date=in_days(6)), "1"],
        [*row("B7", date=in_days(6)), "1"],  # no room
        [*row("B8", date=NEXT_DAY), "9"],  # another capacity
        [*row("B8", date=NEXT_DAY), "9"],  # again
        [*row("B9", date=NEXT_DAY), "8"],  # contradicts
        [*row("A0", date=in_days(5)), "3"],  # makes room
        [*row("A1"), ""],  # kept
        [*row("A2"), ""],
        [*row("A3"), ""],  # cancelled
        header=FULL,
    )


@pytest.mark.parametrize("size", [1, 2, 500])
def test_slices_do_and_refuse_the_same_as_the_command(dispatcher, monkeypatch, size):
    monkeypatch.setattr(slices, "_NEW", size)
    monkeypatch.setattr(importing, "CHANGES", size)
    content = busy_week()
    promised = import_rows(read(content.encode()), dry_run=True)
    manifest = handed_in(dispatcher, content)
    previewed = manifest.counts, manifest.refusals
    carry_out(dispatcher, manifest)
    assert (manifest.counts, manifest.refusals) == previewed
    refused = tuple((each["line"], each["reason"]) for each in manifest.refusals)
    assert refused == tuple((remark.line, remark.reason) for remark in promised.refused)
    assert manifest.counts["created"] == promised.created == 5
    assert manifest.rows_done == manifest.row_count == 14
    brought = set(manifest.bookings.values_list("reference", flat=True))
    assert brought == {"B1", "B2", "B3", "B6", "B8", "A0"}


@pytest.mark.parametrize("order", [1, -1], ids=["leaves first", "comes first"])
@pytest.mark.parametrize("size", [1, 500])
def test_the_order_of_rows_does_not_decide_who_makes_room(dispatcher, monkeypatch, size, order):
    monkeypatch.setattr(importing, "CHANGES", size)
    before = [[*row("A1"), "1"], [*row("A2", date=NEXT_DAY), "1"]]
    import_rows(read(as_csv(*before, header=FULL).encode()))
    after = [
        [*row("A1", date=NEXT_DAY), "1"],
        [*row("A2", date=in_days(5)), "1"],
        [*row("A3"), "1"],
    ]
    manifest = handed_in(dispatcher, as_csv(*after[::order], header=FULL))
    carry_out(dispatcher, manifest)
    assert (manifest.counts["created"], manifest.counts["changed"]) == (1, 2)
    assert manifest.refusals == []


@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_full_slots_swap_their_deliveries_also_over_several_slices_as_was_foretold(
    dispatcher, monkeypatch, size
):
    monkeypatch.setattr(importing, "CHANGES", size)
    rows = [
        [*row(f"{name}{n}", f"07700 90000{n}", day), "3"]
        for name, day in (("A", DAY), ("B", NEXT_DAY))
        for n in range(1, 4)
    ]
    import_rows(read(as_csv(*rows, header=FULL).encode()))
    others = {DAY: NEXT_DAY, NEXT_DAY: DAY}
    swapped = [
        [*cells[:3], f"{others[dt.date.fromisoformat(cells[3])]}", *cells[4:]] for cells in rows
    ]
    swapped.append([*row("C", date=DAY), "3"])  # no room all the same
    manifest = handed_in(dispatcher, as_csv(*swapped, header=FULL))
    foretold = manifest.counts
    carry_out(dispatcher, manifest)
    assert manifest.counts == foretold
    assert (foretold["changed"], foretold["refused"]) == (6, 1)


def test_changes_that_wait_for_one_another_for_ever_are_refused(dispatcher, monkeypatch):
    monkeypatch.setattr(importing, "CHANGES", 1)
    SlotFactory.create(date=NEXT_DAY, capacity=0)
    import_rows(read(as_csv(row("A1"), row("A2")).encode()))
    content = as_csv(row("A1", date=NEXT_DAY), row("A2", date=NEXT_DAY))
    manifest = carry_out(dispatcher, handed_in(dispatcher, content))
    assert [each["line"] for each in manifest.refusals] == [2, 3]
    assert "is closed" in manifest.refusals[0]["reason"]
    assert not SlotChange.objects.exists()


def test_an_import_that_was_left_is_gone_on_with_later_by_anybody_who_may(dispatcher, monkeypatch):
    monkeypatch.setattr(slices, "_NEW", 2)
    monkeypatch.setattr(slices, "SECONDS", 0)
    manifest = handed_in(dispatcher, as_csv(*[row(f"A{number}") for number in range(5)]))
    press(dispatcher, manifest)
    press(dispatcher, manifest)
    assert Booking.objects.count() == 2
    colleague = login("Dispatch")
    assert "2 of 5 rows are done." in page(colleague, manifest)
    listed = colleague.get(url(Manifest, "changelist")).content.decode()
    assert "2 of 5" in listed
    carry_out(colleague, manifest)
    assert Booking.objects.count() == 5
    assert StaffAct.objects.filter(kind=ActKind.IMPORTED).count() == 1


def test_a_script_is_told_how_far_it_came(dispatcher):
    manifest = handed_in(dispatcher, as_csv(row("A1"), row("A2"), row("A3", phone="0712")))
    script = {"headers": {"X-Requested-With": "fetch"}}
    assert press(dispatcher, manifest, **script).json() == {"done": 1, "rows": 3, "goes_on": True}
    assert press(dispatcher, manifest, **script).json() == {"done": 3, "rows": 3, "goes_on": False}
    assert press(dispatcher, manifest, **script).json() == {"done": 3, "rows": 3, "goes_on": False}
    assert Booking.objects.count() == 2


def test_a_row_that_somebody_booked_meanwhile_is_not_doubled(dispatcher):
    manifest = handed_in(dispatcher, as_csv(row("A1"), row("A2", name="Beth")))
    press(dispatcher, manifest)
    import_rows(read(as_csv(row("A1"), row("A2")).encode()))
    carry_out(dispatcher, manifest)
    assert (manifest.counts["created"], manifest.counts["changed"]) == (0, 1)
    assert dict(Booking.objects.values_list("reference", "customer_name")) == {
        "A1": "Ann",
        "A2": "Beth",
    }


def test_a_capacity_that_dispatch_sets_during_the_import_stays(dispatcher):
    manifest = handed_in(dispatcher, as_csv([*row("A1"), "5"], header=FULL))
    press(dispatcher, manifest)
    Slot.objects.update(capacity=0)
    carry_out(dispatcher, manifest)
    assert Slot.objects.get().capacity == 0
    assert "is closed" in manifest.refusals[0]["reason"]


def test_moves_name_who_imported_and_the_act_is_written_down(dispatcher):
    import_rows(read(as_csv(row("A1")).encode()))
    carry_out(dispatcher, handed_in(dispatcher, as_csv(row("A1", date=NEXT_DAY))))
    act = StaffAct.objects.get()
    assert (act.kind, act.details) == (ActKind.IMPORTED, "week.csv, rows: 1")
    assert SlotChange.objects.get().user == act.user == Manifest.objects.get().user


def test_the_size_of_the_file_does_not_decide_how_many_queries_a_page_takes(
    dispatcher, django_assert_max_num_queries
):
    manifest = handed_in(dispatcher, week())
    with django_assert_max_num_queries(10):
        page(dispatcher, manifest)
    for _ in range(5):
        handed_in(dispatcher, as_csv(row()))
    with django_assert_max_num_queries(14):
        dispatcher.get(url(Manifest, "changelist"))


# What is left of it


def test_the_refused_rows_can_be_mended_in_their_own_file_and_handed_in(dispatcher):
    content = as_csv(
        row("A1", phone="0712", name="=1+1"), row("A2"), row("A3", date=in_days(-1), name="Cy")
    )
    manifest = carry_out(dispatcher, handed_in(dispatcher, content))
    response = dispatcher.post(reverse("admin:bookings_manifest_refused", args=[manifest.pk]))
    text = response.content.decode("utf-8-sig")
    first, second = csv.DictReader(io.StringIO(text))
    assert first["refused because"] == "row 2: 0712 is too short for a phone number."
    assert first["customer_name"] == "'=1+1"
    assert second["refused because"].startswith("row 4: ")
    act = StaffAct.objects.get(kind=ActKind.EXPORTED)
    assert act.details == "csv: 2 refused rows of week.csv"
    mended = text.replace('"0712"', '"07700900005"').replace(str(in_days(-1)), str(DAY))
    again = carry_out(dispatcher, handed_in(dispatcher, mended))
    assert (again.counts["created"], again.counts["refused"]) == (2, 0)


def test_its_bookings_are_a_filter_of_the_list(dispatcher):
    manifest = carry_out(dispatcher, handed_in(dispatcher, as_csv(row("A1"), row("A2"))))
    carry_out(dispatcher, handed_in(dispatcher, as_csv(row("A2"), row("A3"))))
    address = f"{url(Booking, 'changelist')}?manifest={manifest.pk}"
    assert address in page(dispatcher, manifest)
    listed = dispatcher.get(address).context["cl"].queryset
    assert {booking.reference for booking in listed} == {"A1", "A2"}
    for nonsense in ("0", "x", "9" * 30):
        address = f"{url(Booking, 'changelist')}?manifest={nonsense}"
        assert list(dispatcher.get(address).context["cl"].queryset) == []


@pytest.mark.parametrize("group", ["Ops", "Auditor"])
def test_who_may_not_import_reads_and_changes_nothing(dispatcher, group):
    manifest = handed_in(dispatcher, as_csv(row("A1")))
    other = login(group)
    assert "1 will be imported" in page(other, manifest)
    assert "Import 1 row" not in page(other, manifest)
    assert hand_in(other, as_csv(row("A2"))).status_code == 403
    for name in ("import", "refused"):
        address = reverse(f"admin:bookings_manifest_{name}", args=[manifest.pk])
        assert other.post(address).status_code == 403
    assert not Booking.objects.exists()


def test_a_manifest_is_never_changed_or_deleted(dispatcher):
    manifest = handed_in(dispatcher, as_csv(row("A1")))
    for name in ("change", "delete"):
        address = url(Manifest, name, manifest.pk)
        assert dispatcher.post(address, {"name": "x", "post": "yes"}).status_code == 403
    assert Manifest.objects.get().name == "week.csv"


def test_one_that_was_erased_says_so_and_imports_nothing(dispatcher):
    manifest = Manifest.objects.create(
        name="old.csv",
        user=UserFactory.create(),
        created_at=timezone.now() - dt.timedelta(days=100),
        counts={"created": 1},
    )
    assert "was erased" in page(dispatcher, manifest)
    press(dispatcher, manifest)
    assert Manifest.objects.get().state == ManifestState.PREVIEWED


def refused_rows(client, manifest):
    return client.post(reverse("admin:bookings_manifest_refused", args=[manifest.pk])).content


def test_refused_rows_handed_in_again_erase_no_notes_that_the_file_did_not_speak_of(dispatcher):
    carry_out(dispatcher, handed_in(dispatcher, as_csv(row("A1"))))
    Booking.objects.update(notes="Gate code 12")
    full = SlotFactory.create(date=in_days(9), window_start="09:00", window_end="12:00", capacity=0)
    moved = as_csv(row("A1", date=in_days(9)))
    manifest = carry_out(dispatcher, handed_in(dispatcher, moved))
    assert manifest.counts["refused"] == 1
    Slot.objects.filter(pk=full.pk).update(capacity=5)

    again = handed_in(dispatcher, refused_rows(dispatcher, manifest))

    assert carry_out(dispatcher, again).counts["changed"] == 1
    booking = Booking.objects.get()
    assert (booking.slot, booking.notes) == (full, "Gate code 12")


def test_refused_rows_handed_in_again_say_what_they_said(dispatcher):
    notes = "- leave it with the neighbour"
    cells = [*row("A1", name="'t Hooft", phone="0712"), notes]
    file = as_csv(cells, header=[*HEADER, "notes"])
    manifest = carry_out(dispatcher, handed_in(dispatcher, file))
    mended = refused_rows(dispatcher, manifest).replace(b"0712", b"+447700900123")
    carry_out(dispatcher, handed_in(dispatcher, mended))
    booking = Booking.objects.get()
    assert (booking.notes, booking.customer_name) == (notes, "'t Hooft")


@pytest.mark.parametrize("group", ["superuser", "Ops", "Auditor"])
@pytest.mark.parametrize("lookup", ["refusals__icontains", "refusals__0__cells__phone__startswith"])
def test_a_refused_number_is_not_guessed_by_hand_made_addresses(lookup, group, dispatcher):
    cells = row("A1", phone="+447700900123", date="24/11/2026")
    assert handed_in(dispatcher, as_csv(cells)).counts["refused"] == 1
    page = login(group).get(url(Manifest, "changelist"), {lookup: "+4477009"})
    assert page.status_code in {302, 400}


def test_what_a_row_changes_beside_a_slot_that_was_chosen_since_can_be_imported(dispatcher):
    carry_out(dispatcher, handed_in(dispatcher, as_csv(row("A1"))))
    booking, chosen = Booking.objects.get(), SlotFactory.create(date=in_days(8))
    dispatch.move(booking, chosen)
    manifest = handed_in(dispatcher, as_csv(row("A1", phone="+447700900999")))
    assert "Import 1 row" in page(dispatcher, manifest)
    shown = page(dispatcher, carry_out(dispatcher, manifest))
    assert f"A1 stays in {chosen}, which dispatch chose." in shown
    booking.refresh_from_db()
    assert (booking.slot, booking.msisdn) == (chosen, "447700900999")
    listed = dispatcher.get(url(Booking, "changelist"), {"manifest": manifest.pk})
    assert listed.context["cl"].result_count == manifest.counts["changed"] == 1


@pytest.mark.parametrize("typed", ["0770O900123", "07700x900123", "07700:900123"])
def test_what_was_handed_in_as_a_number_is_masked_for_others(typed):
    clerk = login("Dispatch")
    manifest = handed_in(clerk, as_csv(row("A1", phone=typed)))
    assert typed in page(clerk, manifest)
    shown = page(login("Auditor"), manifest)
    assert typed not in shown
    assert "\N{BULLET}0123" in shown
