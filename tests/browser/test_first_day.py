"""A dispatcher's first day in a browser, with the product's web server, sender and simulated phone."""

import os
import re
import subprocess
import sys
from urllib.parse import quote

import pytest
from django.conf import settings as project
from django.contrib.auth.models import Permission, User
from django.db import connection
from playwright.sync_api import Page, expect

from bookings.models import Booking
from tests.browser.conftest import PATIENCE
from tests.factories import SlotFactory, in_days

pytestmark = pytest.mark.django_db(transaction=True)


def database_url():
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    who = ":".join(quote(given[part], safe="") for part in ("USER", "PASSWORD") if given[part])
    return f"postgres://{who}@{given['HOST']}:{given['PORT'] or 5432}/{given['NAME']}"


@pytest.fixture
def sender(live_server, tmp_path):
    """Run a sender as a separate process, as in production."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "delivery_sms.settings",
        "DATABASE_URL": database_url(),
        "SIMULATOR_BASE_URL": live_server.url,
    }
    command = [sys.executable, "manage.py", "run_outbox"]
    with (tmp_path / "sender.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=project.BASE_DIR, env=environment, stdout=log, stderr=log
        )
        yield process
        process.terminate()
        try:
            assert process.wait(timeout=10) == 0, (tmp_path / "sender.log").read_text()
        finally:
            process.kill()  # nothing, if it has ended


@pytest.fixture
def dispatcher():
    user = User.objects.create_user("dispatch", password="a long password", is_staff=True)
    rights = Permission.objects.filter(content_type__app_label="bookings")
    user.user_permissions.set(
        [
            right
            for right in rights
            if right.codename.startswith("view_")
            or right.codename in {"add_booking", "change_booking", "notify_booking"}
        ]
    )
    return user


@pytest.fixture
def slots():
    return [SlotFactory.create(date=in_days(days)) for days in (2, 3, 4)]


def log_in(page):
    page.goto("/")
    page.get_by_label("Username").fill("dispatch")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Notify a customer")).to_be_visible()


def is_too_wide(page):
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_a_dispatcher_notifies_a_number_and_sees_the_answer_move_the_booking(
    page, picture, sender, dispatcher, slots, complaints
):
    log_in(page)
    promised = a_customer_is_previewed(page, picture)
    progress = it_is_sent_and_arrives(page, promised)
    the_customer_answers_2(page, picture, promised)
    booking = Booking.objects.get()
    assert booking.slot == slots[1]
    every_page_knows_it(page, picture, progress)
    the_timeline_tells_it_all(page, picture, progress, [promised, phone_text(booking)])
    assert complaints == []


def a_customer_is_previewed(page: Page, picture) -> str:
    """Return the previewed text."""
    page.get_by_label("Phone number").fill("07700 900123")
    page.get_by_label("Name").fill("Ana Torres")
    preview = page.locator("#preview")
    text = preview.locator("[data-text]")
    expect(text).to_contain_text("Reply 1 (")
    expect(preview).to_contain_text("GSM-7")
    picture(page, "notify")
    return text.inner_text()


def it_is_sent_and_arrives(page: Page, promised: str) -> str:
    """Return the address of the progress page."""
    page.get_by_role("button", name="Book and send the SMS").click()
    expect(page.get_by_role("heading", name="Status")).to_be_visible()
    assert page.locator(".bubble.ours").last.inner_text() == promised
    expect(page.locator(".steps .done", has_text="Delivered")).to_be_visible()
    return page.url


def the_customer_answers_2(page: Page, picture, promised: str) -> None:
    page.get_by_role("link", name="Open the simulated phone").click()
    phone = page.get_by_role("log", name="Texts")
    expect(phone).to_contain_text(promised)
    page.get_by_label("Reply as the customer").fill("2")
    page.keyboard.press("Enter")
    expect(phone.locator(".right .bubble")).to_have_text("2")
    expect(phone.locator(".left .bubble")).to_have_count(2)
    expect(phone.locator(".left .bubble").last).to_contain_text("Acme")
    expect(phone.locator(".left").last).to_contain_text("delivered")
    expect(page.locator("[data-part=outcome]")).to_contain_text("Outcome: moved")
    picture(page, "phone")


def every_page_knows_it(page: Page, picture, progress: str) -> None:
    page.goto(progress)
    expect(page.locator(".steps")).to_contain_text("Outcome: moved")
    picture(page, "progress")
    page.goto("/simulator/")
    expect(page.locator(".phones")).to_contain_text("Ana Torres")
    picture(page, "phones")


def the_timeline_tells_it_all(page: Page, picture, progress: str, texts: list[str]) -> None:
    page.goto(progress)
    page.get_by_role("link", name="Booking and timeline").click()
    for text in texts:
        expect(page.locator("main, #main").first).to_contain_text(text)
    picture(page, "timeline")


def phone_text(booking):
    """Return the stored text of the acknowledgement."""
    message = booking.outbound_messages.filter(kind="acknowledgement").get()
    return re.sub(r"\s+", " ", message.text)


def test_the_pages_fit_a_small_screen_and_answer_to_the_keyboard(
    page, sender, dispatcher, slots, complaints
):
    page.set_viewport_size({"width": 420, "height": 800})
    log_in(page)
    expect(page.get_by_label("Phone number")).to_be_focused()
    page.keyboard.type("+44 7700 900124")
    expect(page.locator("#preview [data-text]")).to_be_visible()
    page.get_by_label("Delivery slot").select_option("another")
    expect(page.get_by_label("From")).to_be_visible()
    assert not is_too_wide(page)
    page.get_by_label("Delivery slot").select_option(str(slots[0].pk))
    page.get_by_label("Phone number").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".steps .done", has_text="Delivered")).to_be_visible()
    assert not is_too_wide(page)
    page.get_by_role("link", name="Open the simulated phone").click()
    expect(page.get_by_role("button", name="STOP")).to_be_visible()
    assert not is_too_wide(page)
    page.get_by_role("button", name="STOP").click()
    expect(page.locator(".right .bubble")).to_have_text("STOP")
    expect(page.locator("[data-part=outcome]")).to_contain_text("opted out")
    assert complaints == []


def test_double_click_sends_one_text(page, dispatcher, slots):
    log_in(page)
    page.get_by_label("Phone number").fill("07700 900125")
    page.get_by_role("button", name="Book and send the SMS").dblclick()
    expect(page.get_by_role("heading", name="Status")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Notify a customer")).to_be_visible()
    assert Booking.objects.count() == 1


def test_notify_form_works_without_scripts(browser, live_server, client, dispatcher, slots):
    client.force_login(dispatcher)  # the admin's login page needs scripts, ours do not
    session = {"name": "sessionid", "value": client.cookies["sessionid"].value}
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    context.add_cookies([session | {"url": live_server.url}])
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto("/")
    page.get_by_label("Phone number").fill("07700 900126")
    page.get_by_role("button", name="Preview").click()
    promised = page.locator("[data-text]").inner_text()
    page.get_by_role("button", name="Book and send the SMS").click()
    expect(page.locator(".steps")).to_contain_text("Waiting to be sent")
    assert page.locator(".bubble.ours").inner_text() == promised
    page.get_by_role("link", name="Open the simulated phone").click()
    page.get_by_role("button", name="1", exact=True).click()
    expect(page.locator(".right .bubble")).to_have_text("1")
    context.close()
