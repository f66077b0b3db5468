"""The commands of dispatch and ops, as they are typed."""

import datetime as dt
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from bookings.customers import consent
from bookings.dispatch import bookings as dispatch
from bookings.models import (
    Booking,
    InboundMessage,
    Kind,
    NotificationState,
    OutboundMessage,
    Outcome,
    SlotOption,
)
from bookings.notifications.asking import notify
from tests.factories import (
    BookingFactory,
    InboundMessageFactory,
    NotificationFactory,
    SlotFactory,
    in_days,
)

pytestmark = pytest.mark.django_db

HEADER = "reference,customer_name,phone,date,window_start,window_end\n"


def run(name, *arguments):
    """Return the command's output and its exit code."""
    out = StringIO()
    try:
        call_command(name, *map(str, arguments), stdout=out)
    except CommandError as error:
        return out.getvalue() + str(error), error.returncode
    except SystemExit as error:
        return out.getvalue(), error.code
    return out.getvalue(), 0


@pytest.fixture
def manifest(tmp_path):
    def write(*rows):
        path = tmp_path / "manifest.csv"
        path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
        return path

    return write


def line(reference="A1", phone="07700900001", days=3):
    return f"{reference},Ann,{phone},{in_days(days)},09:00,12:00"


# Command import_bookings


def test_import_prints_the_counts_and_exits_0(manifest):
    printed, code = run("import_bookings", manifest(line("A1"), line("A2")))
    assert (printed, code) == (
        "Rows: 2 created, 0 changed, 0 unchanged, 0 kept, 0 refused\n",
        0,
    )


def test_import_with_a_bad_row_prints_its_line_exits_1_and_keeps_the_good_ones(manifest):
    printed, code = run("import_bookings", manifest(line("A1"), line("A2", phone="0712")))
    assert "1 created, 0 changed, 0 unchanged, 0 kept, 1 refused" in printed
    assert "refused row 3: 0712 is too short for a phone number." in printed
    assert code == 1
    assert Booking.objects.get().reference == "A1"


def test_import_prints_kept_values_and_exits_0(manifest):
    path = manifest(line("A1"))
    run("import_bookings", path)
    dispatch.move(Booking.objects.get(), SlotFactory.create(date=in_days(4)))
    printed, code = run("import_bookings", path)
    assert "kept row 2: A1 stays in" in printed
    assert code == 0


def test_import_dry_run_stores_nothing_and_exits_like_the_real_one(manifest):
    printed, code = run("import_bookings", manifest(line("A1"), line("A1")), "--dry-run")
    assert "Would be: 1 created" in printed
    assert code == 1
    assert not Booking.objects.exists()


@pytest.mark.parametrize("exists", [False, True], ids=["no such file", "no manifest"])
def test_a_file_that_cannot_be_imported_is_named_in_one_sentence(tmp_path, exists):
    path = tmp_path / "letter.csv"
    if exists:
        path.write_text("Dear Sir")
    printed, code = run("import_bookings", path)
    assert str(path) in printed
    assert "\n" not in printed
    assert code == 1


# Command send_notifications


def tomorrow(**fields):
    # Late enough that its cut-off is still to come, whatever the time is now.
    late = {"window_start": dt.time(23, 30), "window_end": dt.time(23, 59)}
    slot = SlotFactory.create(date=in_days(1), **late)
    return BookingFactory.create(slot=slot, **fields)


def asked():
    messages = OutboundMessage.objects.filter(kind=Kind.NOTIFICATION).order_by("pk")
    return list(messages.values_list("booking__reference", flat=True))


def test_without_arguments_tomorrows_customers_are_asked():
    tomorrow(reference="A1")
    BookingFactory.create(reference="A2", slot__date=in_days(2))
    printed, code = run("send_notifications")
    assert asked() == ["A1"]
    assert "A1 asked at +44" in printed
    assert printed.endswith("1 asked\n")
    assert code == 0


def test_commands_print_no_whole_number():
    booking = tomorrow()
    printed, _ = run("send_notifications")
    assert booking.msisdn not in printed


def test_another_day_can_be_asked():
    tomorrow(reference="A1")
    BookingFactory.create(reference="A2", slot__date=in_days(2))
    run("send_notifications", "--date", in_days(2))
    assert asked() == ["A2"]


def test_one_booking_can_be_asked_on_any_day():
    tomorrow(reference="A1")
    BookingFactory.create(reference="A2", slot__date=in_days(5))
    run("send_notifications", "--reference", "A2")
    assert asked() == ["A2"]


def test_unknown_reference_is_an_error():
    printed, code = run("send_notifications", "--reference", "A9")
    assert printed == "There is no booking with the reference A9."
    assert code == 1


def test_invalid_date_is_an_error():
    printed, code = run("send_notifications", "--date", "soon")
    assert "invalid date value: 'soon'" in printed
    assert code == 1


def test_second_run_asks_no_customer_again():
    tomorrow(reference="A1")
    run("send_notifications")
    printed, code = run("send_notifications")
    assert asked() == ["A1"]
    assert "A1 not asked: Asked already." in printed
    assert code == 0


def test_customer_with_a_closed_notification_is_not_asked_again():
    booking = tomorrow(reference="A1")
    NotificationFactory.create(
        booking=booking, state=NotificationState.CLOSED, closed_at=booking.created_at
    )
    run("send_notifications")
    assert asked() == []


def test_customer_with_a_withdrawn_notification_is_asked_again():
    booking = tomorrow(reference="A1")
    notify(booking)
    dispatch.change_phone(booking, "447700900009")
    run("send_notifications")
    assert asked() == ["A1", "A1"]


def test_customer_who_cannot_be_asked_is_named_and_stops_no_other():
    tomorrow(reference="A1", msisdn="442079460001")
    out = tomorrow(reference="A2")
    consent.change(out.msisdn, is_opted_out=True, words="STOP")
    dispatch.cancel(tomorrow(reference="A3"))
    tomorrow(reference="A4")
    printed, code = run("send_notifications")
    assert "A1 not asked: This number cannot receive SMS" in printed
    assert "A2 not asked: The customer has opted out" in printed
    assert "A3" not in printed
    assert asked() == ["A4"]
    assert code == 0


def test_a_dry_run_prints_the_texts_and_sends_none():
    tomorrow(reference="A1")
    printed, code = run("send_notifications", "--dry-run")
    assert "A1 would be asked at +44" in printed
    assert "parcel A1" in printed
    assert printed.endswith("1 would be asked\n")
    assert asked() == []
    assert not SlotOption.objects.exists()
    assert code == 0


# Command replay_inbound


@pytest.mark.parametrize("outcome", ["", Outcome.ERROR], ids=["never dealt with", "failed"])
def test_a_message_on_which_we_failed_is_answered_when_replayed(outcome):
    notification = NotificationFactory.create()
    inbound = InboundMessageFactory.create(notification=notification, text="2", outcome=outcome)
    printed, code = run("replay_inbound", inbound.pk)
    assert (printed, code) == (f"Message {inbound.pk}: moved\n", 0)
    inbound.refresh_from_db()
    assert inbound.outcome == Outcome.MOVED
    booking = Booking.objects.get()
    assert booking.slot == notification.options.get(digit=2).slot
    assert OutboundMessage.objects.get().in_reply_to == inbound


def test_handled_message_is_not_replayed():
    inbound = InboundMessageFactory.create(outcome=Outcome.KEPT)
    printed, code = run("replay_inbound", inbound.pk)
    assert printed == f"Message {inbound.pk} was dealt with: kept. Nothing is done twice."
    assert code == 1
    assert not OutboundMessage.objects.exists()


def test_a_message_that_is_not_there_cannot_be_replayed():
    assert run("replay_inbound", 7) == ("There is no inbound message 7.", 1)


def test_a_message_that_fails_again_says_so_and_can_be_replayed_once_more(settings, caplog):
    notification = NotificationFactory.create()
    inbound = InboundMessageFactory.create(
        notification=notification, text="2", outcome=Outcome.ERROR
    )
    del settings.COMPANY_NAME  # what a text begins with: none can be made
    printed, code = run("replay_inbound", inbound.pk)
    assert (printed, code) == ("It failed again: the log says why.", 1)
    assert InboundMessage.objects.get().outcome == Outcome.ERROR
    assert not OutboundMessage.objects.exists()
    assert f"Inbound SMS {inbound.pk}" in caplog.text


# Command check_invariants: the contradictions that it finds are in test_invariants.py


def test_check_invariants_prints_nothing_for_valid_data():
    notify(tomorrow())
    assert run("check_invariants") == ("", 0)


def test_a_contradiction_is_one_line_and_exits_1():
    slot = SlotFactory.create(capacity=1)
    BookingFactory.create_batch(2, slot=slot)
    printed, code = run("check_invariants")
    assert printed == f"I9 slot {slot.pk}: it holds 2 bookings and has room for 1\n"
    assert code == 1
