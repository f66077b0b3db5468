"""A manifest is uploaded and imported in steps: by itself with scripts, by a button without."""

import pytest
from playwright.sync_api import expect

from bookings.dispatch.imports import stepwise
from bookings.models import Booking, Manifest
from tests.browser.conftest import PATIENCE
from tests.factories import UserFactory
from tests.flow.admin.pages import url
from tests.flow.sheets import as_csv, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session(client, live_server):
    client.force_login(UserFactory.create(is_superuser=True))
    value = client.cookies["sessionid"].value
    return {"name": "sessionid", "value": value, "url": live_server.url}


def file(count):
    rows = [row(f"A{number}", phone=f"+4477009{number:05d}") for number in range(count)]
    content = as_csv(*rows, row("B1", phone="0712"))
    return {"name": "week.csv", "mimeType": "text/csv", "buffer": content.encode()}


def test_an_import_runs_by_itself_to_its_last_row(page, session, complaints, monkeypatch):
    monkeypatch.setattr(stepwise, "_NEW", 20)
    page.context.add_cookies([session])
    page.goto(url(Manifest, "changelist"))
    page.get_by_role("link", name="Import a spreadsheet").click()
    page.get_by_label("Choose a CSV or XLSX file").set_input_files(file(60))
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="60 will be imported, 1 row rejected")).to_be_visible()
    page.get_by_role("button", name="Import 60 rows").click()
    expect(page.get_by_role("link", name="Notify these")).to_be_visible()
    expect(page.get_by_role("heading", name="60 imported, 1 row rejected")).to_be_visible()
    assert Booking.objects.count() == 60
    assert complaints == []


def test_a_file_that_is_too_large_is_refused_before_it_travels(page, session):
    page.context.add_cookies([session])
    page.goto(url(Manifest, "add"))
    large = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"a" * (5 * 1024 * 1024 + 1)}
    page.get_by_label("Choose a CSV or XLSX file").set_input_files(large)
    expect(page.get_by_text("larger than 5 MB")).to_be_visible()


def test_import_continues_by_button_without_scripts(browser, live_server, session, monkeypatch):
    monkeypatch.setattr(stepwise, "_NEW", 2)
    monkeypatch.setattr(stepwise, "SECONDS", 0)
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    context.add_cookies([session])
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url(Manifest, "add"))
    page.get_by_label("Choose a CSV or XLSX file").set_input_files(file(4))
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import 4 rows").click()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("3 of 5 rows done.")).to_be_visible()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="4 imported, 1 row rejected")).to_be_visible()
    context.close()
