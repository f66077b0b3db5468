"""A dispatcher's day from 07:30 to 17:00 and Ops' questions of the next week, in a browser, with simulated SMS."""

import csv
import datetime as dt
import re
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, expect

from bookings.models import ActKind, StaffAct
from bookings.operations.invariants import find_contradictions
from tests.browser import working_day
from tests.browser.working_day import Desk
from tests.flow.clock import wall

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def desk(page, picture, settings, time_machine):
    settings.QUIET_HOURS = (dt.time(20), dt.time(8))
    settings.SMS_RATE_PER_SECOND = 100.0
    working_day.hire("Dana", "Dispatch")
    working_day.hire("Omar", "Ops")
    working_day.break_some_phones()
    return Desk(page, lambda text: time_machine.move_to(wall(text)), picture)


def test_dispatcher_handles_a_day_and_ops_find_its_facts(desk, complaints, tmp_path):
    desk.log_in("Dana", "2026-10-27 07:30")
    the_manifest_arrives(desk)
    its_customers_are_to_be_asked(desk)
    at_eight_the_texts_leave(desk)
    most_answers_are_clear(desk)
    one_customer_wants_thursday(desk)
    one_unclear_reply_means_an_option(desk)
    another_gets_a_written_answer(desk)
    a_van_breaks_down(desk)
    uninformed_customers_are_called(desk)
    ops_explain_the_move_of_812(desk)
    ops_read_the_costs_of_october(desk)
    ops_export_the_replies(desk, tmp_path)
    assert list(find_contradictions()) == []
    assert complaints == []


def the_manifest_arrives(desk: Desk) -> None:
    page = desk.page
    desk.choose("Manifests")
    page.get_by_role("link", name="Import a spreadsheet").click()
    file = FilePayload(name="wednesday.xlsx", mimeType="", buffer=working_day.manifest())
    page.get_by_label("Choose a CSV or XLSX file").set_input_files(file)
    page.get_by_role("button", name="Preview").click()
    expect(
        page.get_by_role("heading", name="302 will be imported, 4 rows rejected")
    ).to_be_visible()
    desk.read("0712 is too short for a phone number", "4.477E+11 was rounded by the")
    desk.read("2 rows with a corrected phone number", "+44 •••••• 0605")
    desk.picture("0730-manifest")
    page.get_by_role("button", name="Import 302 rows").click()
    expect(page.get_by_role("heading", name="302 imported, 4 rows rejected")).to_be_visible()


def its_customers_are_to_be_asked(desk: Desk) -> None:
    page = desk.page
    desk.set_clock("2026-10-27 07:45")
    page.get_by_role("link", name="Notify these").click()
    title = "300 customers will be texted, of 302 chosen"
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    desk.read("2 will not be texted", "your parcel V", "Reply 1 (tomorrow Wed 28 Oct)", "SMS parts")
    desk.picture("0745-preview")
    page.get_by_role("button", name="Text 300 customers").click()
    desk.send_all()
    desk.read("Manifest wednesday.xlsx: running", "no messages go out before 08:00")


def at_eight_the_texts_leave(desk: Desk) -> None:
    desk.set_clock("2026-10-27 08:00")
    desk.send_all()
    figures = desk.page.locator("[data-part=progress]")
    expect(figures).to_contain_text(re.compile(r"Sent\s*300"))
    expect(figures).to_contain_text(re.compile(r"Delivered\s*297\s*Failed\s*2"))
    expect(figures).to_contain_text(re.compile(r"Not texted\s*2"))
    desk.picture("0800-batch")


def most_answers_are_clear(desk: Desk) -> None:
    for count, (number, words) in enumerate(working_day.answers()):
        working_day.text(number, words)
        if count % 20 == 0:
            desk.send_all()
    working_day.text(working_day.STOPS, "STOP")
    working_day.text(working_day.NO_MORE, "please stop texting me")
    for number, words in (
        (working_day.EVENING, "is after six possible?"),
        (working_day.DOG, "my dog is ill"),
    ):
        working_day.text(number, words)
        desk.send_all()
        working_day.text(number, f"I said {words}")
    desk.send_all()


def one_customer_wants_thursday(desk: Desk) -> None:
    page = desk.page
    page.goto("/simulator/")
    page.get_by_label("number").fill("07700 900812")
    page.keyboard.press("Enter")
    page.get_by_label("Reply as the customer").fill("2")
    page.keyboard.press("Enter")
    phone = page.get_by_role("log", name="Texts")
    expect(phone.locator(".right .bubble")).to_have_text("2")
    desk.send_all()
    expect(phone.locator(".left .bubble").last).to_contain_text("moved to Thu 29 Oct")
    desk.picture("0820-phone")


def one_unclear_reply_means_an_option(desk: Desk) -> None:
    page = desk.page
    desk.log_in("Dana", "2026-10-27 09:30")
    desk.picture("0930-dashboard")
    desk.choose("Needs attention")
    desk.read("please stop texting me", "I said is after six possible?", "I said my dog is ill")
    desk.picture("0930-needs-attention")
    desk.open("after six")
    desk.read("Notification open. V", "is after six possible?")
    desk.picture("0931-unclear")
    page.get_by_role("button", name="Apply 2").click()
    desk.read("The customer is texted.", "my dog is ill")
    expect(page.locator("#result_list")).not_to_contain_text("after six")


def another_gets_a_written_answer(desk: Desk) -> None:
    page = desk.page
    desk.open("my dog")
    page.get_by_label("Message").fill("Get well soon! We come after 14:00, so the vet can wait.")
    expect(page.locator("#preview")).to_contain_text("Acme: Get well soon!")
    expect(page.locator("#preview")).to_contain_text("1 SMS part")
    page.get_by_role("button", name="Send", exact=True).click()
    desk.read("Message queued.")
    desk.send_all()
    page.goto(f"/simulator/{working_day.msisdn(working_day.DOG)}/")
    desk.read("Get well soon!", "delivered")


def a_van_breaks_down(desk: Desk) -> None:
    page = desk.page
    desk.log_in("Dana", "2026-10-27 10:30")
    desk.choose("Bookings")
    desk.search("V4-")
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").select_option(label="Move to another slot …")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("heading", name="40 deliveries will be moved")).to_be_visible()
    page.get_by_label("Thu 29 Oct 2026 12:00-16:00").check()
    desk.picture("1030-van")
    page.get_by_role("button", name="Move 40 deliveries").click()
    desk.read("Deliveries moved: 40.")
    desk.send_all()
    page.goto(f"/simulator/{working_day.msisdn(working_day.VAN_4[0])}/")
    desk.read("moved to Thu 29 Oct 12:00-16:00", "delivered")


def uninformed_customers_are_called(desk: Desk) -> None:
    page = desk.page
    desk.log_in("Dana", "2026-10-27 17:00")
    desk.choose("Customers to call")
    heading = page.get_by_role("heading", name="Wed 28 Oct 2026: 5 customers to call")
    expect(heading).to_be_visible()
    row = page.locator("tr", has_text=working_day.reference(working_day.OUT_OF_REACH[0]))
    expect(row).to_contain_text("Message failed.")
    desk.read("no delivery receipt", "+44 •••••• 0905")
    desk.picture("1700-who-does-not-know")
    row.get_by_role("button", name="show").click()
    expect(row).to_contain_text("+44 7700 900633")
    row.get_by_role("button", name="told by phone").click()
    desk.read(f"{working_day.reference(working_day.OUT_OF_REACH[0])}: recorded, told by phone.")
    desk.read("Wed 28 Oct 2026: 4 customers to call")
    kinds = {ActKind.REVEALED, ActKind.TOLD_BY_PHONE}
    acts = StaffAct.objects.filter(kind__in=kinds, user__username="dana")
    assert set(acts.values_list("kind", flat=True)) == kinds


def ops_explain_the_move_of_812(desk: Desk) -> None:
    page = desk.page
    desk.log_in("Omar", "2026-11-03 10:00")
    desk.choose("Bookings")
    desk.search("812")
    page.get_by_role("link", name=working_day.reference(812)).click()
    why = page.get_by_role("region", name="Current slot: Thu 29 Oct 2026")
    expect(why).to_contain_text("2")
    expect(why).to_contain_text("Tue 27 Oct 2026 08:0")
    story = page.get_by_role("region", name="Timeline")
    for words in ("Reply 1 (tomorrow Wed 28 Oct)", "moved to Thu 29 Oct", "delivered"):
        expect(story).to_contain_text(words)
    desk.picture("week-after-812")


def ops_read_the_costs_of_october(desk: Desk) -> None:
    page = desk.page
    desk.choose("Outbound messages")
    page.get_by_role("link", name="Cost by month").click()
    page.get_by_role("navigation", name="Months").get_by_role("link", name="Oct 2026").click()
    expect(page.get_by_role("heading", name="Cost, October 2026").last).to_be_visible()
    texts = int(page.locator("tr.total [data-label=Messages]").inner_text())
    assert texts > 500
    desk.picture("week-after-october")


def ops_export_the_replies(desk: Desk, folder: Path) -> None:
    page = desk.page
    desk.choose("Inbound messages")
    desk.search("V4-")
    desk.picture("week-after-replies")
    with page.expect_download() as started:
        page.get_by_role("button", name="CSV").click()
    file = folder / "replies.csv"
    started.value.save_as(file)
    about, header, *rows = csv.reader(file.read_text(encoding="utf-8-sig").splitlines())
    assert "q=V4-" in " ".join(about)
    assert "outcome" in header
    assert len(rows) == sum(number in working_day.VAN_4 for number, _ in working_day.answers())
    assert StaffAct.objects.filter(kind=ActKind.EXPORTED, user__username="omar").count() == 1
