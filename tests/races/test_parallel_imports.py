"""The same manifest is imported in several windows at once, while its customers answer."""

import pytest
from django.utils import timezone

from bookings.dispatch.imports import import_rows, importing, read, stepwise
from bookings.models import Booking, Manifest, ManifestState, Notification, SlotChange, StaffAct
from bookings.notifications.asking import notify
from tests.factories import UserFactory, in_days
from tests.flow.sheets import as_csv, row
from tests.races.simultaneous import at_once, reply

pytestmark = pytest.mark.django_db(transaction=True)

WINDOWS = 4


def phone(number):
    return f"4477009{100 + number:05d}"


def rows(day, count=30, first=0):
    return [
        row(f"A{number}", phone=f"+{phone(number)}", date=in_days(day))
        for number in range(first, first + count)
    ]


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch):
    monkeypatch.setattr(importing, "CHANGES", 4)
    monkeypatch.setattr(stepwise, "_NEW", 4)
    monkeypatch.setattr(stepwise, "SECONDS", 0)


def window(manifest):
    """Do the page's work until the import is done."""

    def press():
        mine = Manifest.objects.get(pk=manifest.pk)
        stepwise.start_import(mine, mine.user)
        while mine.state != ManifestState.DONE:
            stepwise.continue_import(mine, mine.user)
        return "done"

    return press


@pytest.mark.parametrize("round_", range(3))
def test_several_windows_import_every_row_once(round_):
    import_rows(read(as_csv(*rows(3, 15)).encode()))
    content = as_csv(*rows(5, 30), row("B1", phone="0712"))
    manifest = stepwise.preview_import("week.csv", content.encode(), UserFactory.create())
    assert at_once(*[window(manifest)] * WINDOWS) == ["done"] * WINDOWS
    manifest.refresh_from_db()
    assert manifest.counts == {
        "created": 15,
        "changed": 15,
        "unchanged": 0,
        "kept": 0,
        "refused": 1,
        "repaired": 0,
    }
    assert len(manifest.refusals) == 1
    assert manifest.rows_done == manifest.row_count == 31
    assert manifest.bookings.count() == Booking.objects.count() == 30
    assert SlotChange.objects.count() == 15
    assert StaffAct.objects.count() == 1


@pytest.mark.parametrize("round_", range(3))
def test_replies_during_imports_leave_each_booking_in_one_slot(round_):
    import_rows(read(as_csv(*rows(4, 12)).encode()))
    for booking in Booking.objects.all():
        notify(booking)
    Notification.objects.update(handed_over_at=timezone.now())
    slots = {booking.slot_id for booking in Booking.objects.all()}
    # Back to front: the order of the file must not be that of the locks.
    content = as_csv(*reversed(rows(6, 12)))
    manifest = stepwise.preview_import("week.csv", content.encode(), UserFactory.create())
    answers = [reply(phone(number), "2") for number in range(12)]
    done = at_once(window(manifest), window(manifest), *answers)
    assert done == ["done", "done", *[200] * 12]
    assert Booking.objects.filter(slot__date=in_days(6)).count() == 12
    assert not Booking.objects.filter(slot__in=slots).exists()
