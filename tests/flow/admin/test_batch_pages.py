"""Asking many customers at once: the page that shows it before anything is sent, and starting the batch."""

import re
from decimal import Decimal
from html import unescape

import pytest
from django.test import Client

from bookings.admin.batches import pages as batch_pages
from bookings.models import (
    ActKind,
    Batch,
    BatchEntry,
    Booking,
    Consent,
    Manifest,
    Notification,
    OutboundMessage,
    StaffAct,
)
from bookings.notifications import batches
from bookings.notifications.batches import ask_waiting
from tests.factories import (
    BookingFactory,
    NotificationFactory,
    SlotFactory,
    UserFactory,
    in_days,
)
from tests.flow.admin.pages import choose, login, url

pytestmark = pytest.mark.django_db

PHONE = "447700900001"


def hidden_fields(html: str) -> dict[str, str]:
    named = r'type="hidden" name="(bookings|day|manifest|nonce|shown|sender|plain)" value="([^"]*)"'
    return dict(re.findall(named, html))


def confirm(client: Client, page, **changes):
    fields = hidden_fields(page.content.decode()) | {"confirmed": "yes"} | changes
    return client.post(url(Batch, "add"), fields, follow=True)


def test_batch_page_lists_texts_and_reasons_for_leaving_out(dispatcher):
    fine = BookingFactory.create(reference="FINE", msisdn=PHONE)
    out = BookingFactory.create(reference="OUT")
    Consent.objects.create(msisdn=out.msisdn, is_opted_out=True)
    waiting = NotificationFactory.create(booking__reference="WAITING").booking
    landline = BookingFactory.create(msisdn="442079460000")
    late = BookingFactory.create(slot=SlotFactory.create(date=in_days(0)))

    page = choose(dispatcher, [fine, out, waiting, landline, late])
    html = page.content.decode()

    assert "1 customer will be texted" in html
    assert "+44 •••••• 0001" in html
    assert "Acme: your parcel FINE" in html
    reasons = {reason: [row.pk for row in rows] for reason, rows in page.context["found"].left_out}
    assert reasons == {
        "The customer has opted out.": [out.pk],
        "Already notified; the notification is still open.": [waiting.pk],
        "This number cannot receive SMS: call instead.": [landline.pk],
        "It is too late to change this delivery: its cut-off has passed.": [late.pk],
    }
    assert not OutboundMessage.objects.exists()
    assert not Batch.objects.exists()


def test_batch_leaves_out_customers_for_the_reason_on_the_page(dispatcher):
    out = BookingFactory.create()
    Consent.objects.create(msisdn=out.msisdn, is_opted_out=True)
    chosen = [out, NotificationFactory.create().booking, BookingFactory.create()]
    page = choose(dispatcher, chosen)
    confirm(dispatcher, page)
    ask_waiting()
    shown = {row.pk: reason for reason, rows in page.context["found"].left_out for row in rows}
    left_out = BatchEntry.objects.exclude(left_out="").values_list("booking", "left_out")
    assert dict(left_out) == shown
    assert len(shown) == 2


def test_confirmed_customers_are_texted_once_though_the_page_is_submitted_twice(dispatcher):
    page = choose(dispatcher, BookingFactory.create_batch(3))
    confirm(dispatcher, page)
    again = confirm(dispatcher, page)
    ask_waiting()
    assert again.redirect_chain[-1][0] == url(Batch, "change", Batch.objects.get().pk)
    assert OutboundMessage.objects.count() == 3
    assert {row.asked_by is not None for row in Notification.objects.all()} == {True}
    act = StaffAct.objects.get()
    assert (act.kind, act.details) == (
        ActKind.ASKED_MANY,
        f"batch {Batch.objects.get().pk}: 3 chosen bookings, 3 bookings",
    )


def test_a_customer_who_was_asked_since_the_page_was_shown_is_left_out(dispatcher):
    booking = BookingFactory.create()
    page = choose(dispatcher, [booking])
    NotificationFactory.create(booking=booking)
    batch = confirm(dispatcher, page).context["batch"]
    ask_waiting()
    assert "still open" in dispatcher.get(url(Batch, "change", batch.pk)).content.decode()
    assert not OutboundMessage.objects.exists()


def test_delivery_added_since_the_page_was_shown_is_not_texted(dispatcher):
    slot = SlotFactory.create()
    BookingFactory.create(slot=slot)
    page = dispatcher.get(url(Batch, "add"), {"day": slot.date.isoformat()})
    BookingFactory.create(slot=slot)

    page = confirm(dispatcher, page)
    assert "Nothing was sent" in page.text
    assert "2 customers will be texted" in page.text
    assert not Batch.objects.exists()

    confirm(dispatcher, page)
    BookingFactory.create(slot=slot)
    confirm(dispatcher, page)  # by the back button: it is the same batch
    assert BatchEntry.objects.count() == 2


def test_booking_named_twice_is_asked_once(dispatcher):
    key = BookingFactory.create().pk
    page = dispatcher.post(url(Batch, "add"), {"bookings": f"{key},{key}"})
    assert page.context["subtitle"] == "1 chosen booking"


def test_more_bookings_than_a_database_takes_at_once_are_no_error(dispatcher):
    keys = ",".join(map(str, range(10_000, 300_000)))
    page = dispatcher.post(url(Batch, "add"), {"bookings": keys}, follow=True)
    assert "No matching bookings" in page.text


def test_one_customer_is_asked_from_the_page_of_the_booking(dispatcher):
    booking = BookingFactory.create()
    page = dispatcher.post(url(Batch, "add"), {"bookings": str(booking.pk)})
    assert "1 customer will be texted" in page.content.decode()


def test_whole_day_or_manifest_is_asked_without_cancelled_bookings(dispatcher):
    slot = SlotFactory.create(date=in_days(4))
    on_the_day = BookingFactory.create_batch(2, slot=slot)
    BookingFactory.create(slot=slot, state="cancelled")
    other = BookingFactory.create()
    manifest = Manifest.objects.create(name="route 7.csv", content=b"", user=UserFactory.create())
    manifest.bookings.set([other])

    day = dispatcher.get(url(Batch, "add"), {"day": slot.date.isoformat()})
    confirm(dispatcher, day)
    confirm(dispatcher, dispatcher.get(url(Batch, "add"), {"manifest": manifest.pk}))

    of_day, of_manifest = Batch.objects.order_by("pk")
    assert set(of_day.entries.values_list("booking", flat=True)) == {b.pk for b in on_the_day}
    assert of_manifest.entries.get().booking == other
    assert of_manifest.name == "manifest route 7.csv"


@pytest.mark.parametrize("query", ["day=x", "manifest=x", "manifest=9999", "day=2026-02-30", ""])
def test_address_without_bookings_shows_a_message(query, dispatcher):
    page = dispatcher.get(f"{url(Batch, 'add')}?{query}", follow=True)
    assert "Select bookings first" in page.content.decode()


def test_the_button_above_the_list_says_how_a_batch_is_begun(dispatcher):
    page = dispatcher.get(url(Batch, "add"), follow=True)
    assert page.redirect_chain[-1][0] == url(Booking, "changelist")
    assert "Select bookings first, then choose “Notify customers …”" in page.content.decode()


def test_too_many_at_once_are_refused_in_a_sentence(dispatcher, monkeypatch):
    monkeypatch.setattr(batches, "MOST_BOOKINGS", 2)
    page = choose(dispatcher, BookingFactory.create_batch(3)).url
    html = dispatcher.get(page).content.decode()
    assert "at most 2 bookings can be notified at once" in html
    assert not Batch.objects.exists()


def test_starting_needs_a_token():
    booking = BookingFactory.create()
    client = login("Dispatch")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post(url(Batch, "add"), {"bookings": booking.pk}).status_code == 403


@pytest.mark.parametrize(
    "changes",
    [{"nonce": "x"}, {"sender": "447911123456"}, {"sender": "ACME"}, {"confirmed": ""}],
)
def test_incomplete_confirmation_shows_the_page_again_and_sends_nothing(changes, dispatcher):
    page = choose(dispatcher, [BookingFactory.create()])
    again = confirm(dispatcher, page, **changes)
    assert "1 customer will be texted" in again.content.decode()
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("state", "count"), [("running", 1), ("paused", 0), ("finished", 0), ("nonsense", 1), ("", 1)]
)
def test_the_list_of_batches_by_state(state, count, dispatcher):
    confirm(dispatcher, choose(dispatcher, [BookingFactory.create()]))
    page = dispatcher.get(url(Batch, "changelist"), {"state": state})
    assert len(page.context["cl"].result_list) == count


def test_two_parcels_on_one_phone_are_asked_with_the_digits_that_were_shown(dispatcher):
    later = SlotFactory.create(date=in_days(5))
    first = BookingFactory.create(msisdn=PHONE, slot=later)  # listed after the second
    second = BookingFactory.create(msisdn=first.msisdn)
    page = choose(dispatcher, [first, second])
    shown = {plan.booking.pk: plan.text for plan in page.context["found"].samples}

    confirm(dispatcher, page)
    ask_waiting()

    sent = dict(OutboundMessage.objects.values_list("booking_id", "text"))
    assert sent == shown
    digits = {option.digit for row in Notification.objects.all() for option in row.options.all()}
    assert digits == {1, 2, 3, 4, 5, 6}


def test_a_fourth_parcel_of_a_customer_gets_a_plain_notice_and_the_page_says_so(dispatcher):
    page = choose(dispatcher, BookingFactory.create_batch(4, msisdn=PHONE))
    assert page.context["found"].notices == 1
    assert "1 of them gets a notification without options" in page.content.decode()


def test_staff_pick_the_number_to_send_from_where_there_are_several(dispatcher, settings):
    settings.VONAGE_NUMBERS = ["447700900000", "447700900099"]
    page = choose(dispatcher, [BookingFactory.create()])
    assert "+44 7700 900099" in page.content.decode()
    confirm(dispatcher, page, sender="447700900099")
    ask_waiting()
    assert OutboundMessage.objects.get().sender == "447700900099"


# The bill


def test_f11_two_parts_because_of_a_typographic_apostrophe_are_one_part_after_the_click(
    dispatcher, settings
):
    settings.COMPANY_NAME = "Al\u2019s"
    settings.COMPANY_PHONE = "020 1"
    settings.OFFER_POST_OFFICE = False
    settings.SMS_PRICES = {"GB": 4}
    chosen = BookingFactory.create_batch(5, slot=SlotFactory.create(date=in_days(6)))
    page = choose(dispatcher, chosen)
    html = page.content.decode()
    before = page.context["found"]
    assert (
        f'{before.dearest} parts because of <bdi class="char">\u2019</bdi> in the company' in html
    )
    assert f"{before.spared_cost:.2f} more for this batch" in html
    assert before.spared_cost == 4 * before.spared_parts

    fields = hidden_fields(html) | {"plain": "yes"}
    after = dispatcher.post(url(Batch, "add"), fields)

    found = after.context["found"]
    assert found.parts == before.parts - before.spared_parts
    assert found.parts < before.parts
    assert all("Al's: your parcel" in plan.text for plan in found.samples)
    confirm(dispatcher, after)
    ask_waiting()
    sent = OutboundMessage.objects.all()
    assert sum(message.parts for message in sent) == found.parts
    assert all("\u2019" not in message.text for message in sent)


def test_batch_page_counts_the_parts_that_are_sent(dispatcher):
    slots = [SlotFactory.create(date=in_days(days)) for days in (2, 3, 9)]
    chosen = [
        BookingFactory.create(slot=slot, reference=reference * length)
        for slot in slots
        for reference, length in (("A", 5 + slot.pk % 3), ("B", 30 + slot.pk % 3))
    ]
    chosen.append(BookingFactory.create(reference="Größe Ł1"))
    found = choose(dispatcher, chosen).context["found"]
    confirm(dispatcher, choose(dispatcher, chosen))
    ask_waiting()
    assert found.parts == sum(OutboundMessage.objects.values_list("parts", flat=True))
    texts = list(OutboundMessage.objects.values_list("text", flat=True))
    assert (found.longest or found.samples[0]).parts == max(
        OutboundMessage.objects.values_list("parts", flat=True)
    )
    assert found.longest is None or found.longest.text in texts


def test_batch_preview_page_takes_constant_queries(dispatcher, django_assert_max_num_queries):
    slot = SlotFactory.create(date=in_days(4), capacity=None)
    BookingFactory.create_batch(60, slot=slot)
    with django_assert_max_num_queries(30):
        dispatcher.get(url(Batch, "add"), {"day": slot.date.isoformat()})


def test_batch_page_counts_texts_held_back_by_caps(dispatcher, settings):
    settings.SMS_PRICE_PER_PART, settings.SMS_DAILY_SPEND_CAP = Decimal("0.05"), Decimal("0.20")
    settings.SMS_PER_NUMBER_DAY = 1
    slot = SlotFactory.create(date=in_days(4), capacity=None)
    two = BookingFactory.create_batch(2, msisdn=PHONE, slot=slot)
    page = choose(dispatcher, [*two, *BookingFactory.create_batch(8, slot=slot)])
    html, timing = page.content.decode(), page.context["found"].timing
    assert f"<b>{timing.dear}</b> will not be sent today: the daily" in html
    assert "spending cap leaves 0.20 for today" in html
    assert "<b>1</b> will not be sent today: one number gets at most 1 message a day" in html
    assert timing.today + timing.dear + timing.capped + timing.closed == 10


def test_left_out_customers_are_listed_in_pages(dispatcher, monkeypatch):
    monkeypatch.setattr(batch_pages, "_LEFT_OUT_SHOWN", 60)
    slot = SlotFactory.create(date=in_days(4), capacity=None)
    deaf = BookingFactory.create_batch(101, msisdn="442079460000", slot=slot)
    page = choose(dispatcher, [*deaf, BookingFactory.create(slot=slot)])
    html = page.content.decode()
    assert "The first 100 of 101." in html
    (reason,) = re.findall(r'name="left_out" value="([^"]*)">Show all 101', html)

    fields = hidden_fields(html) | {"left_out": unescape(reason), "reminder": "yes"}
    shown = [
        dispatcher.post(url(Batch, "add"), fields | {"page": number}).content.decode()
        for number in (1, 2)
    ]

    links = [re.findall(r'class="link" href="[^"]*/booking/(\d+)/', one) for one in shown]
    assert list(map(len, links)) == [60, 41]
    assert {int(key) for keys in links for key in keys} == {booking.pk for booking in deaf}
    back = hidden_fields(shown[0])
    assert (back["nonce"], back["bookings"]) == (fields["nonce"], fields["bookings"])
    assert 'name="reminder" value="yes"' in shown[0]
    assert not Batch.objects.exists()


def test_unused_reason_lists_no_customer(dispatcher):
    fields = hidden_fields(choose(dispatcher, [BookingFactory.create()]).content.decode())
    page = dispatcher.post(url(Batch, "add"), fields | {"left_out": "<b>x</b>", "page": "x"})
    assert "0 will not be texted: &lt;b&gt;x" in page.content.decode()


# The list and the page of one


def test_a_batch_that_is_finished_says_so_and_offers_nothing(dispatcher, drain):
    confirm(dispatcher, choose(dispatcher, [BookingFactory.create()]))
    batch = Batch.objects.get()
    address = url(Batch, "change", batch.pk)
    html = dispatcher.get(address).content.decode()
    assert "1 chosen booking: running" in html
    assert "Pause</button>" in html
    drain()
    html = dispatcher.get(address).content.decode()
    assert "1 chosen booking: finished" in html
    assert ". Finished " in html
    assert not re.search("(Pause|Resume|Cancel remaining messages)</button>", html)
    page = dispatcher.post(url(Batch, "pause", batch.pk), follow=True)
    assert "No change: the batch is already finished." in page.content.decode()


def test_the_list_is_filtered_by_the_state_that_it_shows(dispatcher, drain):
    for _ in range(2):
        confirm(dispatcher, choose(dispatcher, [BookingFactory.create()]))
    drain()
    for _ in range(3):
        confirm(dispatcher, choose(dispatcher, [BookingFactory.create()]))
    done, *_, paused, cancelled = Batch.objects.order_by("pk")
    batches.pause_batch(paused, UserFactory.create())
    batches.cancel_batch(cancelled, UserFactory.create())
    listed = {
        state: dispatcher.get(url(Batch, "changelist"), {"state": state}).context["cl"].result_list
        for state in ("running", "paused", "cancelled", "finished")
    }
    assert {state: len(rows) for state, rows in listed.items()} == {
        "running": 1,
        "paused": 1,
        "cancelled": 1,
        "finished": 2,
    }
    assert done in listed["finished"]


def test_a_name_begins_a_heading_with_a_capital(dispatcher):
    slot = SlotFactory.create(date=in_days(4))
    BookingFactory.create(slot=slot)
    page = dispatcher.get(url(Batch, "add"), {"day": slot.date.isoformat()})
    assert page.context["subtitle"].startswith("Deliveries of ")
    batch = confirm(dispatcher, page).context["batch"]
    assert ">Deliveries of " in dispatcher.get(url(Batch, "change", batch.pk)).content.decode()
    assert "Deliveries of " in dispatcher.get(url(Batch, "changelist")).content.decode()


def test_batch_list_and_page_take_constant_queries(dispatcher, django_assert_max_num_queries):
    for _ in range(5):
        batches.start_batch(
            Booking.objects.filter(pk__in=[b.pk for b in BookingFactory.create_batch(4)]),
            nonce=f"nonce-{Batch.objects.count()}",
            user=UserFactory.create(),
            sender="447700900000",
            name="chosen",
        )
    ask_waiting(11)
    with django_assert_max_num_queries(18):
        html = dispatcher.get(url(Batch, "changelist")).content.decode()
    assert html.count("Chosen") == 5
    with django_assert_max_num_queries(18):
        page = dispatcher.get(url(Batch, "change", Batch.objects.order_by("pk")[2].pk))
    progress = page.context["progress"]
    assert (progress.total, progress.asked, progress.waiting) == (4, 3, 1)


def test_buttons_pause_resume_and_cancel_and_are_written_down(dispatcher):
    confirm(dispatcher, choose(dispatcher, BookingFactory.create_batch(2)))
    batch = Batch.objects.get()
    for word, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        page = dispatcher.post(url(Batch, word, batch.pk), follow=True)
        batch.refresh_from_db()
        assert batch.state == state
        assert state in page.content.decode()
    again = dispatcher.post(url(Batch, "resume", batch.pk), follow=True)
    assert "No change: the batch is already cancelled." in again.content.decode()
    kinds = list(StaffAct.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds == [ActKind.ASKED_MANY, ActKind.PAUSED, ActKind.RESUMED, ActKind.CANCELLED]
    assert set(batch.entries.values_list("left_out", flat=True)) == {"The batch was cancelled."}
