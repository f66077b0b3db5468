"""The README and the pages in docs/: their commands work, and what they link to or name exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
DECISIONS = DOCS / "decisions"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    ROOT / "tests" / "campaigns" / "README.md",
]

#: One page on a screen or two; everything else belongs into docs/.
MOST_README_BYTES = 8192

_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)|\bsrc=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
#: A path as the pages write it: `bookings/replies/`, `replies/rule.py`, `tests/flow/test_open_notifications.py`.
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?|[\w.-]+/")
#: Where a path can begin: at the top, or in the one app.
_BASES = (ROOT, ROOT / "bookings")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[str]:
    """Yield the relative addresses that a page links to or shows."""
    for link, source in _LINK.findall(prose(page)):
        address = link or source
        if not re.match(r"[a-z]+:", address):
            yield address


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = _HEADING.findall(prose(page))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def named_paths(page: Path) -> set[str]:
    """Return the paths in a page's code spans whose first part is a directory of the project."""
    spans = (span for span in _CODE.findall(prose(page)) if _PATH.fullmatch(span))
    return {span for span in spans if any((base / span.split("/")[0]).is_dir() for base in _BASES)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for address in links(page):
        path, _, anchor = address.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(address)
    assert broken == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name_of
)
def test_each_named_path_exists(page):
    missing = [
        path for path in named_paths(page) if not any((base / path).exists() for base in _BASES)
    ]
    assert missing == []


def test_the_scan_sees_paths_and_links(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One heading\n`replies/gone.py` [a](b.md#c) `1/2`\n```sh\n[x](y.md)\n```\n", "utf-8"
    )
    assert named_paths(page) == {"replies/gone.py"}
    assert list(links(page)) == ["b.md#c"]
    assert anchors(page) == {"one-heading"}


def test_the_readme_is_short_and_has_one_picture():
    text = README.read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_README_BYTES
    assert len(re.findall(r"\.(?:png|svg)\b", text)) == 1


def test_the_road_of_a_reply_takes_ten_lines_and_six_files():
    road = README.read_text(encoding="utf-8").partition("## The road of a reply")[2]
    steps = re.findall(r"^\d+\. (?:.+\n?)(?:   .+\n)*", road.partition("\n## ")[0], re.MULTILINE)
    assert len(steps) == 10
    files = re.findall(r"\(bookings/(web/webhooks/\w+\.py|replies/\w+\.py)\)", "".join(steps))
    assert len(set(files)) == 6


def test_the_index_links_each_page():
    linked = set(links(DOCS / "README.md"))
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked


def test_the_index_of_decisions_links_each_record():
    records = {page.name for page in DECISIONS.glob("*.md")} - {"README.md"}
    assert records == set(links(DECISIONS / "README.md"))


def test_a_decision_carries_the_number_of_its_file():
    numbers = []
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        heading = re.match(r"# (\d+)\. \S.+\n", page.read_text(encoding="utf-8"))
        assert heading, f"{page.name} does not begin with '# number. title'"
        assert int(heading[1]) == int(page.name[:4])
        numbers.append(heading[1])
    assert len(set(numbers)) == len(numbers)


def test_each_picture_is_shown_by_a_page():
    shown = {(page.parent / address).resolve() for page in PAGES for address in links(page)}
    assert set(DOCS.glob("*.png")) <= shown
