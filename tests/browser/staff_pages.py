"""Every page for staff, with rows on it, for tests that visit each of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group, User
from django.urls import reverse
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from playwright.sync_api import Page

from bookings.dispatch.imports import stepwise
from bookings.models import (
    Batch,
    Booking,
    ClosedDay,
    InboundMessage,
    Manifest,
    Notification,
    Outcome,
    Slot,
    Ticket,
    WeeklySlot,
)
from bookings.notifications import batches
from tests.factories import (
    BookingFactory,
    InboundMessageFactory,
    NotificationFactory,
    SlotFactory,
    TicketFactory,
    in_days,
)
from tests.flow.admin.pages import OURS, STAFF, make_story, url
from tests.flow.sheets import as_csv, row
from tests.processes import VIRTUAL_NUMBER

LONG_WORDS = (
    "Sorry I am at work until late, can the driver leave it with Mrs Featherstonehaugh-Cholmondeley? "
    * 2
)
LONG_NAME = "Hubert Blaine Wolfeschlegelsteinhausenbergerdorff"


@dataclass(frozen=True)
class StaffPage:
    """An address, and the action there that leads to the page to test."""

    address: str
    then: Callable[[Page], None] = lambda page: None

    def open(self, page: Page) -> None:
        page.goto(self.address)
        self.then(page)
        page.wait_for_load_state()


def fill_tables(user: User) -> None:
    """Fill every table, with long words and names among the rows."""
    make_story(2)
    Group.objects.get_or_create(name="Dispatch")
    slot = SlotFactory.create(date=in_days(1))
    BookingFactory.create_batch(3, slot=slot)
    notification = NotificationFactory.create(booking__customer_name=LONG_NAME)
    inbound = InboundMessageFactory.create(
        notification=notification, text=LONG_WORDS, outcome=Outcome.NOT_UNDERSTOOD
    )
    TicketFactory.create(inbound=inbound)
    InboundMessageFactory.create(text="2", outcome=Outcome.ERROR)
    batches.start_batch(
        Booking.objects.all(), nonce="a" * 16, user=user, sender=VIRTUAL_NUMBER, name="tomorrow"
    )
    for name in ("looked-at.csv", "imported.csv"):
        rows = [row(f"{name}-{number}", phone=f"07700 900{number}") for number in range(700, 705)]
        content = as_csv(*rows, row("B1", phone="0712"), row("B2", phone="447700900444"))
        manifest = stepwise.preview_import(name, content.encode(), user)
    stepwise.start_import(manifest, user)
    stepwise.continue_import(manifest, user)


def staff_pages() -> Iterator[tuple[str, StaffPage]]:
    """Return a superuser's pages by name; the second factor comes last, because it changes the login."""
    yield "dashboard", StaffPage(reverse("admin:index"))
    yield "notify", StaffPage(reverse("notify-form"))
    yield from _lists_and_forms()
    yield from _of_bookings()
    yield from _of_deliveries()
    yield from _of_the_conversation()
    yield "second-factor", StaffPage(reverse("second-factor"))
    yield "recovery-codes", StaffPage(reverse("second-factor"), _set_up_second_factor)


def strangers_pages() -> Iterator[tuple[str, StaffPage]]:
    """Return the pages that need no login."""
    login = reverse("admin:login")
    yield "login", StaffPage(login)
    yield "login-refused", StaffPage(login, _log_in_wrongly)


def _lists_and_forms() -> Iterator[tuple[str, StaffPage]]:
    for model in [*OURS, *STAFF]:
        name = model._meta.model_name
        yield f"{name}-list", StaffPage(url(model, "changelist"))
        yield f"{name}-page", StaffPage(url(model, "change", model.objects.order_by("-pk")[0].pk))
    for model in (Booking, Slot, WeeklySlot, ClosedDay, User, Group):
        yield f"{model._meta.model_name}-add", StaffPage(url(model, "add"))
    booking = Booking.objects.order_by("pk")[0]
    yield "booking-history", StaffPage(url(Booking, "history", booking.pk))
    yield "nothing-found", StaffPage(f"{url(Booking, 'changelist')}?q=nothing-like-it")
    yield "weeklyslot-delete", StaffPage(url(WeeklySlot, "delete", WeeklySlot.objects.all()[0].pk))


def _of_bookings() -> Iterator[tuple[str, StaffPage]]:
    bookings = url(Booking, "changelist")
    yield "booking-ticked", StaffPage(bookings, lambda page: page.locator("#action-toggle").check())
    for name, action in (
        ("move", "move_bookings"),
        ("cancel", "cancel_bookings"),
        ("preview", "notify_customers"),
    ):
        yield name, StaffPage(bookings, _acting(action))
    yield "run-again", StaffPage(url(InboundMessage, "changelist"), _acting("run_again"))
    unaware = reverse("admin:bookings_booking_unaware")
    yield "who-does-not-know", StaffPage(f"{unaware}?day={in_days(1)}")
    yield "everybody-knows", StaffPage(f"{unaware}?day={in_days(30)}")
    number = reverse("reveal-number", args=["booking", Booking.objects.order_by("pk")[0].pk])
    yield "number", StaffPage(bookings, _revealing(number))


def _of_deliveries() -> Iterator[tuple[str, StaffPage]]:
    yield "manifest-add", StaffPage(url(Manifest, "add"))
    for name in ("looked-at.csv", "imported.csv"):
        manifest = Manifest.objects.get(name=name)
        yield f"manifest-{name}", StaffPage(url(Manifest, "change", manifest.pk))
    yield "weeks", StaffPage(reverse("admin:bookings_weeklyslot_make"))
    running = Batch.objects.get(nonce="a" * 16)
    yield "batch-running", StaffPage(url(Batch, "change", running.pk))


def _of_the_conversation() -> Iterator[tuple[str, StaffPage]]:
    notification = Notification.objects.order_by("-pk")[0]
    ticket = Ticket.objects.get(inbound__text=LONG_WORDS)
    yield "ticket-unclear", StaffPage(url(Ticket, "change", ticket.pk))
    yield "try", StaffPage(reverse("admin:bookings_inboundmessage_try"), _try_some)
    yield "costs", StaffPage(reverse("admin:bookings_outboundmessage_costs"))
    of_booking = "admin:bookings_consentchange_of_booking"
    booking = Booking.objects.order_by("pk")[0]
    yield "consent-of-a-number", StaffPage(reverse(of_booking, args=[booking.pk]))
    yield "consent-record", StaffPage(reverse("admin:bookings_consentchange_record"))
    progress = reverse("notification-progress", args=[notification.pk])
    yield "notification-progress", StaffPage(progress)
    yield "simulator", StaffPage(reverse("simulator"))
    yield "phone", StaffPage(reverse("simulator-phone", args=[notification.msisdn]))


def _acting(action: str) -> Callable[[Page], None]:
    """Tick every row of the list, and run this action."""

    def act(page: Page) -> None:
        page.locator("#action-toggle").check()
        page.locator("select[name=action]").select_option(action)
        page.get_by_role("button", name="Run").click()
        page.locator("form .confirm, form.confirm").first.wait_for()

    return act


def _revealing(address: str) -> Callable[[Page], None]:
    """Reveal the number on its own page, as without scripts."""

    def reveal(page: Page) -> None:
        submit = "(form, address) => { form.action = address; form.submit(); }"
        with page.expect_navigation():
            page.locator("#reveal").evaluate(submit, address)

    return reveal


def _try_some(page: Page) -> None:
    page.locator("textarea").fill(f"2\nthursday 2pm\n{LONG_WORDS}")
    page.get_by_role("button", name="Test", exact=True).click()
    page.locator(".tried").wait_for()


def _set_up_second_factor(page: Page) -> None:
    device: Any = TOTPDevice.objects.get()
    page.get_by_label("Code").fill(f"{TOTP(device.bin_key, drift=device.drift).token():06}")
    page.get_by_role("button", name="Set up").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()


def _log_in_wrongly(page: Page) -> None:
    page.get_by_label("Username").fill("nobody")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("Please enter the correct").first.wait_for()
