"""A dispatcher's main tasks by keyboard alone, with a visible focus at every stop."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from playwright.sync_api import expect

from bookings.web.simulator.gateway import deliver_reply
from tests.factories import BookingFactory
from tests.processes import VIRTUAL_NUMBER

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "a long enough password"
MOST_STOPS = 90

#: Without the theme's slow changes of colour, the look of a stop differs at once.
AT_ONCE = """
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("*, *::before, *::after { transition: none !important }");
  document.adoptedStyleSheets = [sheet];
"""
#: What the focus is on, and whether anything there looks different for it.
STOP = """() => {
  const stop = document.activeElement;
  const parts = [stop, stop.parentElement, stop.parentElement?.parentElement].filter(Boolean);
  const look = () => parts.map(part => {
    const style = getComputedStyle(part);
    return [style.outline, style.boxShadow, style.borderColor, style.backgroundColor].join(" ");
  }).join("; ");
  const focused = look();
  stop.blur();
  const plain = look();
  stop.focus();
  const box = stop.getBoundingClientRect();
  const label = stop.labels?.[0]?.innerText || stop.getAttribute("aria-label");
  const isOutside = stop === document.body;  // in the browser's own bars, between the last stop and the first
  return {
    words: isOutside ? "" : (label || stop.innerText || stop.title || "").trim(),
    html: stop.outerHTML.slice(0, 200),
    isSeen: isOutside || focused !== plain && box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""


@pytest.fixture
def keyboard(page):
    """Return the page's keyboard, the dispatcher's only input device."""
    page.add_init_script(AT_ONCE)
    return Keyboard(page)


class Keyboard:
    """Moves by Tab and checks the visible focus at every stop."""

    def __init__(self, page):
        self.page = page

    def go_to(self, words, *, backwards=False):
        """Press Tab until the focused element has these words."""
        passed = []
        for _ in range(MOST_STOPS):
            self.page.keyboard.press("Shift+Tab" if backwards else "Tab")
            stop = self.page.evaluate(STOP)
            assert stop["isSeen"], f"no visible focus on {stop['html']}"
            if words in stop["words"]:
                return
            passed.append(stop["words"])
        raise AssertionError(f"{words!r} is not among {passed}")

    def press(self, key, *, on, backwards=False):
        """Go to the element and press it; the press must lead to another page."""
        self.go_to(on, backwards=backwards)
        with self.page.expect_navigation():
            self.page.keyboard.press(key)

    def write(self, words, *, into):
        self.go_to(into)
        self.page.keyboard.type(words)


def test_dispatcher_works_by_keyboard_alone(page, keyboard, complaints):
    User.objects.create_superuser("dana", password=PASSWORD)
    booking = BookingFactory.create(reference="P-812")
    log_in(page, keyboard)
    keyboard.press("Enter", on="Bookings")
    expect(page.get_by_role("heading", name="booking").first).to_be_visible()
    keyboard.press("Enter", on="P-812")
    keyboard.press("Enter", on="Notify this customer")
    keyboard.press("Enter", on="Text 1 customer")
    expect(page.get_by_text("Not sent yet")).to_be_visible()
    call_command("run_outbox", "--drain")
    for words in ("in the evening?", "I said in the evening"):
        deliver_reply(booking.msisdn, words, VIRTUAL_NUMBER)
    keyboard.press("Enter", on="Needs attention")
    keyboard.press("Enter", on="unclear")
    keyboard.press("Space", on="Apply 2")
    expect(page.get_by_text("The customer is texted.")).to_be_visible()
    assert complaints == []


def test_theme_menus_open_by_keyboard(page, keyboard, complaints):
    User.objects.create_superuser("dana", password=PASSWORD)
    BookingFactory.create(reference="P-812")
    log_in(page, keyboard)
    page.goto("/admin/bookings/booking/")
    keyboard.go_to("Filters")
    page.keyboard.press("Enter")
    expect(page.locator("#changelist-filter").get_by_text("not notified")).to_be_visible()
    page.keyboard.press("Escape")
    page.goto("/admin/")
    keyboard.go_to("dana")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    keyboard.press("Enter", on="Log out", backwards=True)
    expect(page.get_by_text("Logged out")).to_be_visible()
    assert complaints == []


def log_in(page, keyboard):
    page.goto("/admin/login/")
    page.evaluate("document.activeElement.blur()")
    keyboard.write("dana", into="Username")
    keyboard.write(PASSWORD, into="Password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Tomorrow")).to_be_visible()
