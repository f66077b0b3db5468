"""Accessibility of every page: axe-core's rules, a small screen, and enlarged text."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import PATIENCE, switch_to
from tests.browser.staff_pages import StaffPage, fill_tables, staff_pages, strangers_pages
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
#: Django's own boxes for groups and permissions, which only superusers see: their script names a bare span.
EXCEPT = [".selector .help-tooltip"]
PHONE = {"width": 420, "height": 900}
#: A window of 1400 x 950 at 200 %.
ENLARGED = {"width": 700, "height": 475}


@pytest.fixture
def user():
    user = UserFactory.create(is_superuser=True, username="dana")
    fill_tables(user)
    return user


@pytest.fixture
def session(client, live_server, user):
    client.force_login(user)
    value = client.cookies["sessionid"].value
    return {"name": "sessionid", "value": value, "url": live_server.url}


def every_page(page, session):
    """Open each page in turn, pages without login first, and yield its name."""
    for name, one in strangers_pages():
        yield name, opened(one, page)
    page.context.add_cookies([session])
    for name, one in staff_pages():
        yield name, opened(one, page)


def opened(one: StaffPage, page):
    one.open(page)
    return page


def barriers(page) -> list[str]:
    """Return axe-core's violations on the page. The dark theme is checked for colours only."""
    by_day = _found(page, {"type": "tag", "values": RULES})
    switch_to(page, "dark")
    by_night = _found(page, {"type": "rule", "values": ["color-contrast"]})
    switch_to(page, "light")
    return [*by_day, *(f"by night: {one}" for one in by_night)]


def _found(page, rules) -> list[str]:
    options = {"runOnly": rules, "resultTypes": ["violations"]}
    return [
        f"{one['id']} {' '.join(node['target'])} {node['html'][:160]}"
        for one in Axe().run(page, {"exclude": EXCEPT}, options).response["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


def test_axe_finds_no_barrier_on_any_page_by_day_or_by_night(page, session):
    found = [
        f"{name}: {barrier}"
        for name, shown in every_page(page, session)
        for barrier in barriers(shown)
    ]
    assert found == [], "\n".join(found)


def test_axe_reports_a_known_barrier(page, session):
    page.context.add_cookies([session])
    page.goto("/admin/")
    page.add_style_tag(content=".panel h2 { color: #aaa !important }")
    assert any(found.startswith("color-contrast") for found in barriers(page))


@pytest.fixture(params=[PHONE, ENLARGED], ids=["phone", "enlarged"])
def narrow_page(request, browser, live_server):
    context = browser.new_context(
        base_url=live_server.url, viewport=request.param, device_scale_factor=2, locale="en-GB"
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    context.close()


def test_no_page_is_wider_than_its_window(narrow_page, session):
    wide = [
        f"{name}: {width} px"
        for name, page in every_page(narrow_page, session)
        if (width := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0
    ]
    assert wide == []
