"""A spreadsheet is imported slice by slice, and told of for ever."""

import csv
import datetime as dt
import io

import pytest
from django.urls import reverse
from django.utils import timezone

from bookings.dispatch import bookings as dispatch
from bookings.dispatch.imports import import_rows, importing, read, stepwise
from bookings.models import ActKind, Booking, Manifest, ManifestState, Slot, SlotChange, StaffAct
from tests.factories import SlotFactory, UserFactory, in_days
from tests.flow.admin.pages import login, url
from tests.flow.admin.uploading import FULL, carry_out, hand_in, handed_in, page, press
from tests.flow.sheets import DAY, HEADER, NEXT_DAY, as_csv, crowd, everything, row

pytestmark = pytest.mark.django_db


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
    assert "212 will be imported, 9 rows rejected" in page(dispatcher, manifest)
    assert not Booking.objects.exists()
    carry_out(dispatcher, manifest)
    assert "212 imported, 9 rows rejected" in page(dispatcher, manifest)
    assert Booking.objects.count() == 212
    before = everything()
    again = handed_in(dispatcher, week())
    shown = page(dispatcher, again)
    assert "Nothing to import, 9 rows rejected" in shown
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


def busy_week():
    """What is there, and a file that creates, changes, keeps, leaves and refuses."""
    SlotFactory.create(date=DAY, capacity=4)
    import_rows(read(as_csv(*[row(f"A{number}") for number in range(4)]).encode()))
    dispatch.move(Booking.objects.get(reference="A1"), SlotFactory.create(date=NEXT_DAY))
    dispatch.cancel(Booking.objects.get(reference="A3"))
    return as_csv(
        *crowd(),
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
    monkeypatch.setattr(stepwise, "_NEW", size)
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
def test_row_order_does_not_decide_which_rows_fit(dispatcher, monkeypatch, size, order):
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
    assert "Slot closed" in manifest.refusals[0]["reason"]
    assert not SlotChange.objects.exists()


def test_interrupted_import_is_continued_by_another_user(dispatcher, monkeypatch):
    monkeypatch.setattr(stepwise, "_NEW", 2)
    monkeypatch.setattr(stepwise, "SECONDS", 0)
    manifest = handed_in(dispatcher, as_csv(*[row(f"A{number}") for number in range(5)]))
    press(dispatcher, manifest)
    press(dispatcher, manifest)
    assert Booking.objects.count() == 2
    colleague = login("Dispatch")
    assert "2 of 5 rows done." in page(colleague, manifest)
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
    assert "Slot closed" in manifest.refusals[0]["reason"]


def test_import_moves_name_the_user_and_record_the_act(dispatcher):
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


def test_the_refused_rows_can_be_mended_in_their_own_file_and_handed_in(dispatcher):
    content = as_csv(
        row("A1", phone="0712", name="=1+1"), row("A2"), row("A3", date=in_days(-1), name="Cy")
    )
    manifest = carry_out(dispatcher, handed_in(dispatcher, content))
    response = dispatcher.post(reverse("admin:bookings_manifest_refused", args=[manifest.pk]))
    text = response.content.decode("utf-8-sig")
    first, second = csv.DictReader(io.StringIO(text))
    assert first["rejected because"] == "row 2: 0712 is too short for a phone number."
    assert first["customer_name"] == "'=1+1"
    assert second["rejected because"].startswith("row 4: ")
    act = StaffAct.objects.get(kind=ActKind.EXPORTED)
    assert act.details == "csv: 2 rejected rows of week.csv"
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
def test_user_without_import_permission_reads_and_changes_nothing(dispatcher, group):
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


def test_erased_manifest_says_so_and_imports_nothing(dispatcher):
    manifest = Manifest.objects.create(
        name="old.csv",
        user=UserFactory.create(),
        created_at=timezone.now() - dt.timedelta(days=100),
        counts={"created": 1},
    )
    assert "were erased" in page(dispatcher, manifest)
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


def test_reuploaded_refused_rows_keep_their_values(dispatcher):
    notes = "- leave it with the neighbour"
    cells = [*row("A1", name="'t Hooft", phone="0712"), notes]
    file = as_csv(cells, header=[*HEADER, "notes"])
    manifest = carry_out(dispatcher, handed_in(dispatcher, file))
    mended = refused_rows(dispatcher, manifest).replace(b"0712", b"+447700900123")
    carry_out(dispatcher, handed_in(dispatcher, mended))
    booking = Booking.objects.get()
    assert (booking.notes, booking.customer_name) == (notes, "'t Hooft")


def test_row_keeps_the_slot_chosen_since_and_imports_its_other_changes(dispatcher):
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
