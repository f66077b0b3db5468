"""Material for a dispatcher's day: a manifest of 302 parcels, the customers' answers, and a browser for staff."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from playwright.sync_api import Page, expect

from bookings.models import SimulatedPhone
from bookings.web.simulator.gateway import deliver_reply
from tests.flow.sheets import as_xlsx
from tests.processes import VIRTUAL_NUMBER

PASSWORD = "a long enough password"
TOMORROW, THURSDAY = dt.date(2026, 10, 28), dt.date(2026, 10, 29)

COLUMNS = ["reference", "customer_name", "phone", "date", "window_start", "window_end"]
COLUMNS += ["language", "capacity"]
PARCELS = range(601, 901)
#: The van that breaks down, and what it carries.
VAN_4 = range(721, 761)
WINDOWS = [("08:00", "12:00"), ("12:00", "16:00"), ("16:00", "20:00")]
FIRST_NAMES = ["Ana", "Ben", "Chidi", "Dora", "Emil", "Farah", "Grace", "Hugh", "Iris", "Jan"]
LAST_NAMES = ["Torres", "O'Neill", "Okafor", "Weiss", "Larsson", "Haddad", "Lamb"]

OUT_OF_REACH, SWITCHED_OFF = (633, 636), 639
EVENING, DOG, NO_MORE, STOPS = 611, 617, 623, 629
#: The customers whose part in the day is told one by one.
TOLD_ONE_BY_ONE = {EVENING, DOG, NO_MORE, STOPS, 812}
FORMS = ["1", "1.", "option 1", " 1 thanks", "1 please"]


def reference(number: int) -> str:
    """Return the reference: van and parcel, as in `V4-733`."""
    van = 4 if number in VAN_4 else number % 3 + (1 if number < VAN_4.start else 5)
    return f"V{van}-{number}"


def msisdn(number: int) -> str:
    """Return the number of the parcel's customer, from Ofcom's examples (07700 900xxx)."""
    return f"447700900{number}"


def manifest() -> bytes:
    """Return the spreadsheet of 07:30 as Excel writes it: two fixed lines, some damaged numbers, four bad rows."""
    rows = [_row(number) for number in PARCELS]
    rows[4][2] = 447700900605  # Excel took it for a number, and the + is gone
    rows[9][2] = "447700900610.0"
    bad = [_row(901), _row(902), _row(903), _row(904)]
    bad[0][2] = "0712"
    bad[1][2] = "4.477E+11"
    bad[2][3] = "28.10."
    bad[3][4], bad[3][5] = bad[3][5], bad[3][4]
    lines = [_row(905), _row(906)]
    lines[0][2], lines[1][2] = "020 7946 0905", "020 7946 0906"
    content: bytes = as_xlsx(*rows, *bad, *lines, header=COLUMNS)
    return content


def _row(number: int) -> list[Any]:
    name = f"{FIRST_NAMES[number % 10]} {LAST_NAMES[number % 7]}"
    start, end = WINDOWS[1] if number in VAN_4 else WINDOWS[number % 3]
    language = "es" if number % 50 == 0 else "en"
    phone = f"07700 900{number}"
    return [reference(number), name, phone, TOMORROW.isoformat(), start, end, language, 160]


def answers() -> Iterator[tuple[int, str]]:
    """Yield clear replies of two in three customers: most keep their day, some take the next or the post office."""
    for number in PARCELS:
        if number % 3 == 0 or number in TOLD_ONE_BY_ONE:
            continue
        if number in VAN_4 or number % 5:
            yield number, FORMS[number % len(FORMS)]
        else:
            yield number, "3" if number % 7 == 0 else "2 please"


def text(number: int, words: str) -> None:
    """Send the customer's text, signed, over HTTP to the real webhook."""
    deliver_reply(msisdn(number), words, VIRTUAL_NUMBER)


def break_some_phones() -> None:
    """Break two phones, and switch one off."""
    for number in OUT_OF_REACH:
        SimulatedPhone.objects.create(msisdn=msisdn(number), fails=True)
    SimulatedPhone.objects.create(msisdn=msisdn(SWITCHED_OFF), stays_silent=True)


def hire(name: str, group: str) -> None:
    """Create a member of staff, and the group if the emptied database lacks it."""
    import_module("bookings.migrations.0002_groups").make_groups(apps, connection.schema_editor())
    user = User.objects.create_user(name.lower(), password=PASSWORD, first_name=name, is_staff=True)
    user.groups.add(Group.objects.get(name=group))


@dataclass
class Desk:
    """A member of staff with a browser; the test sets the clock and runs the senders."""

    page: Page
    set_clock: Callable[[str], None]
    take_picture: Callable[[Page, str], None]

    def log_in(self, name: str, at: str) -> None:
        """Log in at this time, and log the former user out."""
        self.set_clock(at)
        self.page.context.clear_cookies()
        self.page.goto("/admin/")
        self.page.get_by_label("Username").fill(name.lower())
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("heading", name="Tomorrow")).to_be_visible()

    def choose(self, name: str) -> None:
        """Follow a link of the sidebar."""
        self.page.locator("#nav-sidebar-apps").get_by_role("link", name=name).click()

    def read(self, *words: str) -> None:
        """Check that the page has all these words."""
        for one in words:
            expect(self.page.locator("#main, main").first).to_contain_text(one)

    def search(self, words: str) -> None:
        self.page.locator("#changelist-search [name=q]").fill(words)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**q=**")

    def open(self, words: str) -> None:
        """Follow the link of the row that has these words."""
        row = self.page.locator("#result_list tr", has_text=words)
        row.get_by_role("link").first.click()

    def picture(self, name: str) -> None:
        self.take_picture(self.page, f"day-{name}")

    def send_all(self) -> None:
        """Do the senders' work: ask customers, send due texts, and wait for their receipts."""
        call_command("run_outbox", "--drain")
