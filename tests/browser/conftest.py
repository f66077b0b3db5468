"""Fixtures for browser tests: Chromium, the product's web server, browser errors, and screenshots on request."""

import os
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
]
PATIENCE = 15_000  # milliseconds


def pytest_collection_modifyitems(items):
    """Skip every test here without Chromium. Where everything must run (CI) a missing one is an error."""
    if CHROMIUM.exists() or os.environ.get("CI") == "true":
        return
    reason = "no /usr/bin/chromium (Debian: apt install chromium)"
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def browser():
    # Playwright's loop makes Django think that our own thread is asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(autouse=True)
def _phones_reach_the_web_server(live_server, settings):
    settings.SIMULATOR_BASE_URL = live_server.url


@pytest.fixture
def complaints():
    """Collect the browser's errors: failed scripts, violated policies, missing files."""
    return []


def complaint(said):
    if said.type == "error":
        yield f"{said.text} {said.location['url']}"


@pytest.fixture
def page(browser, live_server, complaints):
    context = browser.new_context(
        base_url=live_server.url, viewport={"width": 1400, "height": 950}, locale="en-GB"
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.extend(complaint(said)))
    yield page
    context.close()


def switch_to(page: Page, scheme: Literal["light", "dark"]) -> None:
    """Switch the system's colour scheme, and return once the page has followed."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate("() => new Promise(requestAnimationFrame)")


@pytest.fixture
def picture(tmp_path):
    """Save pictures of the page, wide and narrow, in the light and the dark theme."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    schemes: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")

    def take(page: Page, name: str) -> None:
        for scheme in schemes:
            switch_to(page, scheme)
            for width in (420, 1400):
                page.set_viewport_size({"width": width, "height": 950})
                page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
        switch_to(page, "light")

    return take
