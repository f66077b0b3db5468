"""Retention: personal data is erased, and the history stays countable."""

import datetime as dt
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from bookings.dispatch.imports import stepwise
from bookings.models import (
    ActKind,
    Booking,
    Consent,
    DeliveryReceipt,
    InboundMessage,
    OutboundMessage,
    SimulatedPhone,
    SlotChange,
    StaffAct,
)
from bookings.notifications.asking import notify
from bookings.operations.retention import replacement_for
from bookings.reporting import costs
from tests.factories import BookingFactory, SlotFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WORDS = "2 please, says Mary"


@pytest.fixture
def history(reply, drain, report, network, time_machine):
    """Create a notification, its receipt, an answer and a STOP, a hundred days old."""
    now = timezone.now()
    time_machine.move_to(now - dt.timedelta(days=100), tick=True)
    booking = BookingFactory.create(customer_name="Mary Lamb", notes="Ring twice")
    notify(booking)
    drain()
    for part in range(1, len(network.posts[0].message_ids) + 1):
        report(network.posts[0], "delivered", part=part)
    reply(booking.msisdn, "2")
    reply(booking.msisdn, WORDS)
    drain()
    reply(booking.msisdn, "STOP")
    drain()
    InboundMessage.objects.filter(text="2").update(whole=WORDS)
    for kind, msisdn in ((ActKind.REVEALED, booking.msisdn), (ActKind.EXPORTED, "")):
        StaffAct.objects.create(kind=kind, user=UserFactory.create(), msisdn=msisdn)
    time_machine.move_to(now, tick=True)
    return booking


def forget(*args):
    out = StringIO()
    call_command("forget", *args, stdout=out)
    return dict(line.split(": ") for line in out.getvalue().splitlines())


def everything_stored():
    tables = (Booking, OutboundMessage, InboundMessage, DeliveryReceipt, StaffAct)
    return str([list(table.objects.values()) for table in tables])


def test_after_ninety_days_nothing_names_the_customer(history):
    assert history.msisdn in everything_stored()
    assert forget()["bookings"] == "1"
    for trace in (history.msisdn, "Mary", "Ring twice", "STOP ends"):
        assert trace not in everything_stored()


def test_forgotten_rows_stay_countable_and_linked(history):
    before = [table.objects.count() for table in (InboundMessage, OutboundMessage, SlotChange)]
    forget()
    assert before == [
        table.objects.count() for table in (InboundMessage, OutboundMessage, SlotChange)
    ]
    assert InboundMessage.objects.filter(msisdn=Booking.objects.get().msisdn).count() == 3
    out = StringIO()
    call_command("check_invariants", stdout=out)
    assert out.getvalue() == ""


def test_monthly_costs_by_country_survive_forgetting(history):
    asked = OutboundMessage.objects.get(kind="notification")
    month = costs.month_of(timezone.localdate(asked.queued_at))
    before = costs.by_country(month)
    assert [cost.country for cost in before] == ["GB"]
    forget()
    assert costs.by_country(month) == before


def test_reveal_record_survives_the_forgotten_number(history):
    assert forget()["activity log"] == "1"
    acts = StaffAct.objects.values_list("kind", "msisdn")
    assert dict(acts) == {
        ActKind.REVEALED: Booking.objects.get().msisdn,
        ActKind.EXPORTED: "",
    }


def test_an_opt_out_is_never_forgotten(history):
    forget()
    assert Consent.objects.is_opted_out(history.msisdn)


def test_forgetting_twice_changes_nothing_and_a_dry_run_nothing_at_all(history):
    stored = everything_stored()
    assert forget("--dry-run")["inbound messages"] == "3"
    assert everything_stored() == stored
    forget()
    assert set(forget().values()) == {"0"}


def test_a_simulated_phone_is_forgotten_with_its_customer(history):
    gone = SimulatedPhone.objects.create(msisdn=history.msisdn)
    kept = SimulatedPhone.objects.create(msisdn=BookingFactory.create().msisdn)
    assert gone.msisdn != kept.msisdn
    forget()
    assert SimulatedPhone.objects.get() == kept


def test_manifest_contents_are_forgotten_and_import_records_stay(history):
    user = UserFactory.create()
    content = b"reference,customer_name,phone,date,window_start,window_end\nA1,Mary,0712,,,\n"
    old, young = (stepwise.preview_import("week.csv", content, user) for _ in range(2))
    old.created_at = timezone.now() - dt.timedelta(days=100)
    old.save()
    assert forget("--dry-run")["manifests"] == "1"
    assert forget()["manifests"] == "1"
    assert forget()["manifests"] == "0"
    old.refresh_from_db()
    young.refresh_from_db()
    assert (bytes(old.content), old.refusals) == (b"", [])
    assert (old.user, old.row_count, old.counts["refused"]) == (user, 1, 1)
    assert "Mary" in str(young.refusals)


def test_recent_rows_are_kept(history):
    assert set(forget("--days", "120").values()) == {"0"}
    assert history.msisdn in everything_stored()


def test_delivery_is_forgotten_once_more_than_the_days_have_passed():
    today = timezone.localdate()
    kept, forgotten = (
        BookingFactory.create(slot=SlotFactory.create(date=today - dt.timedelta(days=days)))
        for days in (90, 91)
    )
    assert forget("--days", "90")["bookings"] == "1"
    assert Booking.objects.get(msisdn=kept.msisdn) == kept
    assert not Booking.objects.filter(msisdn=forgotten.msisdn).exists()


def test_less_than_a_week_is_refused():
    with pytest.raises(CommandError, match="At least 7 days"):
        forget("--days", "6")


def test_a_customer_who_comes_back_is_forgotten_a_second_time(time_machine, drain):
    """The digits of their first notification have no meaning any more."""
    now = timezone.now()
    for _ in range(2):
        booking = BookingFactory.create(
            msisdn="447700900321", slot=SlotFactory.create(date=now + dt.timedelta(days=3))
        )
        notify(booking)
        drain()
        now += dt.timedelta(days=120)
        time_machine.move_to(now, tick=True)
        assert forget("--days", "90")["options"] == "3"
    call_command("check_invariants")


def test_a_number_has_one_stand_in_however_it_was_written():
    assert replacement_for("+447700900123") == replacement_for("447700900123")
