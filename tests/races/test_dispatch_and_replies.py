"""Staff, imports and customers at the same booking, or at the same last place, at the same instant."""

import pytest
from django.test import Client

from bookings.admin.bookings import move_many
from bookings.admin.shared.row_versions import seen_words
from bookings.dispatch import bookings as dispatch
from bookings.dispatch.bookings import CannotBook
from bookings.dispatch.imports import import_rows, read
from bookings.dispatch.notices import Method
from bookings.models import Booking, InboundMessage, OutboundMessage, Outcome, Slot, SlotChange
from tests.factories import BookingFactory, NotificationFactory, SlotFactory, UserFactory, in_days
from tests.flow.admin.pages import form_of, url
from tests.races.simultaneous import at_once, reply

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = range(5)


@pytest.fixture
def asked():
    """A notification whose second option has one place left."""
    notification = NotificationFactory.create()
    Slot.objects.filter(pk=notification.options.get(digit=2).slot_id).update(capacity=1)
    return notification


@pytest.fixture
def wanted(asked):
    return asked.options.get(digit=2).slot


@pytest.fixture
def staff():
    client = Client()
    client.force_login(UserFactory.create(is_superuser=True))
    return client


def was_moved(notification) -> bool:
    return InboundMessage.objects.get(booking=notification.booking).outcome == Outcome.MOVED


@pytest.mark.parametrize("round_", ROUNDS)
def test_last_place_goes_to_one_of_dispatchers_and_customers(wanted, round_):
    asked = NotificationFactory.create_batch(3)
    others = BookingFactory.create_batch(3)
    moves = [lambda other=other: dispatch.move(other, wanted) for other in others]
    said = at_once(*moves, *[reply(notification.msisdn, "2") for notification in asked])
    assert said[3:] == [200] * 3
    assert wanted.bookings.count() == 1
    moved = [not isinstance(each, CannotBook) for each in said[:3]]
    assert sum(moved) + sum(map(was_moved, asked)) == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_the_notify_form_and_a_customer_do_not_both_get_the_last_place(
    asked, wanted, staff, round_
):
    form = {"number": "07700 900123", "slot": wanted.pk, "nonce": "one-form-of-this-test"}
    said, status = at_once(
        lambda: staff.post("/notify", form).status_code, reply(asked.msisdn, "2")
    )
    assert status == 200
    assert wanted.bookings.count() == 1
    assert said == (400 if was_moved(asked) else 302)


@pytest.mark.parametrize("round_", ROUNDS)
def test_notify_form_and_reply_of_the_same_customer_do_not_deadlock(asked, wanted, staff, round_):
    form = {"number": f"+{asked.msisdn}", "slot": wanted.pk, "nonce": "one-form-of-this-test"}
    said, status = at_once(
        lambda: staff.post("/notify", form).status_code, reply(asked.msisdn, "2")
    )
    assert status == 200
    assert said == (400 if was_moved(asked) else 302)


@pytest.mark.parametrize("round_", ROUNDS)
def test_last_place_goes_to_one_of_imports_and_customers(asked, wanted, round_):
    header = "reference,customer_name,phone,date,window_start,window_end"
    when = f"{wanted.date},{wanted.window_start:%H:%M},{wanted.window_end:%H:%M}"
    files = [read(f"{header}\nA{n},Ann,0770090012{n},{when}\n".encode()) for n in range(3)]
    imports = [lambda entries=entries: import_rows(entries) for entries in files]
    *reports, status = at_once(*imports, reply(asked.msisdn, "2"))
    assert status == 200
    assert wanted.bookings.count() == 1
    assert sum(report.created for report in reports) == 1 - was_moved(asked)


@pytest.mark.parametrize("round_", ROUNDS)
def test_two_moves_by_dispatch_do_not_both_get_the_last_place(round_):
    last = SlotFactory.create(date=in_days(9), capacity=1)
    one, other = BookingFactory.create_batch(2)
    said = at_once(lambda: dispatch.move(one, last), lambda: dispatch.move(other, last))
    assert {type(each) for each in said} == {SlotChange, CannotBook}
    assert last.bookings.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_an_edit_in_the_admin_and_a_reply_lose_nothing(staff, round_):
    """The edit came first, and the reply is told so; or the reply came first, and the form says that it is old."""
    asked = NotificationFactory.create()
    booking, elsewhere = asked.booking, SlotFactory.create(date=in_days(9))
    form = form_of(booking, slot=elsewhere.pk)
    address = url(Booking, "change", booking.pk)
    edited, status = at_once(
        lambda: staff.post(address, form).status_code, reply(asked.msisdn, "2")
    )
    assert status == 200
    booking.refresh_from_db()
    (change,) = booking.slot_changes.all()
    assert (change.from_slot, change.to_slot) == (asked.slot, booking.slot)
    assert (edited, booking.slot) == (
        (200, asked.options.get(digit=2).slot) if was_moved(asked) else (302, elsewhere)
    )


@pytest.mark.parametrize("round_", ROUNDS)
def test_two_simultaneous_bulk_moves_do_not_overfill_a_slot(round_):
    wanted = SlotFactory.create(date=in_days(9), capacity=5)
    users = UserFactory.create_batch(2)
    vans = [BookingFactory.create_batch(8) for _ in users]

    def act(van, user):
        return move_many.change(van, wanted, seen_words(van), Method.SMS, user)

    said = at_once(
        *[lambda van=van, user=user: act(van, user) for van, user in zip(vans, users, strict=True)]
    )
    assert sum(done.count for done in said) == wanted.bookings.count() == 5
    assert sum(len(done.refused) for done in said) == 11
    assert OutboundMessage.objects.count() == 5
