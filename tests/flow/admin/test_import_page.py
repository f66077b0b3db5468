"""What the page of a spreadsheet shows, and to whom it shows a number."""

from html import escape

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from bookings.dispatch.imports import import_rows, read
from bookings.models import Booking, Manifest
from tests.factories import SlotFactory, UserFactory
from tests.flow.admin.pages import login, url
from tests.flow.admin.uploading import handed_in, page
from tests.flow.sheets import DAY, NEXT_DAY, as_csv, as_xlsx, row

pytestmark = pytest.mark.django_db


def test_change_is_shown_with_former_values_and_masked_numbers(dispatcher):
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


def test_reader_sees_no_refused_number(dispatcher):
    manifest = handed_in(dispatcher, as_csv(row("A1", phone="2025550123")))
    assert "2025550123" in page(dispatcher, manifest)
    shown = page(login("Auditor"), manifest)
    assert "2025550123" not in shown
    assert "0123 is ambiguous" in shown
    assert "Download rejected" not in shown


def test_importer_without_reveal_permission_sees_numbers_of_own_files(dispatcher):
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
    assert "Download rejected" not in shown
    assert other.post(refused).status_code == 403
    assert "2025550123" in dispatcher.post(refused).content.decode()


@pytest.mark.parametrize("date", ["04/11/2026", "24-11-2026", "24/11/26", "2026-11-24 10:30:00"])
def test_reader_sees_the_refused_date(dispatcher, date):
    manifest = handed_in(dispatcher, as_csv(row("A1", date=date)))
    (reason,) = [each["reason"] for each in manifest.refusals]
    assert date in reason
    assert escape(reason) in page(login("Auditor"), manifest)


def test_reader_sees_the_full_slot(dispatcher):
    slot = SlotFactory.create(date=DAY, capacity=0)
    manifest = handed_in(dispatcher, as_csv(row("A1")))
    assert f"Slot closed: {slot}." in page(login("Auditor"), manifest)


@pytest.mark.parametrize("group", ["superuser", "Ops", "Auditor"])
@pytest.mark.parametrize("lookup", ["refusals__icontains", "refusals__0__cells__phone__startswith"])
def test_a_refused_number_is_not_guessed_by_hand_made_addresses(lookup, group, dispatcher):
    cells = row("A1", phone="+447700900123", date="24/11/2026")
    assert handed_in(dispatcher, as_csv(cells)).counts["refused"] == 1
    page = login(group).get(url(Manifest, "changelist"), {lookup: "+4477009"})
    assert page.status_code in {302, 400}


@pytest.mark.parametrize("typed", ["0770O900123", "07700x900123", "07700:900123"])
def test_uploaded_number_is_masked_for_other_users(typed):
    clerk = login("Dispatch")
    manifest = handed_in(clerk, as_csv(row("A1", phone=typed)))
    assert typed in page(clerk, manifest)
    shown = page(login("Auditor"), manifest)
    assert typed not in shown
    assert "\N{BULLET}0123" in shown
