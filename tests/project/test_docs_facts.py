"""Tables in docs/ match the code: commands, alarms, health, defaults, words, columns."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from bookings.dispatch.imports.rows import COLUMNS
from bookings.models import TicketKind
from bookings.operations.alarms import ALARMS
from tests.project.test_docs import DOCS, PAGES, README, ROOT, prose

#: A command as a sentence or a table names it.
_NAMED = re.compile(r"`(?:\./run manage|manage\.py) ([a-z_]+)")


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """Yield the cells of the tables under a heading, without the head of each table."""
    text = (DOCS / page).read_text(encoding="utf-8")
    part = text.partition(f"# {heading}\n")[2]
    part = re.split(r"^#+ ", part, maxsplit=1, flags=re.MULTILINE)[0]
    assert part, f"{page} has no heading {heading}"
    for line in re.sub(r"^\|.*\|\n\|[-|]+\|\n", "", part, flags=re.MULTILINE).splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def names(page: str, heading: str) -> set[str]:
    """Return the words in code spans of a table's first column."""
    return {name for first, *_ in rows(page, heading) for name in re.findall(r"`(\w+)`", first)}


def test_each_command_of_ours_has_a_row_with_all_its_options():
    told = {}
    for first, *_ in rows("operations.md", "Commands"):
        name = first.strip("`").split()[0]
        told[name] = set(re.findall(r"--[a-z-]+", first))
    ours = {name for name, app in get_commands().items() if app == "bookings"}
    assert set(told) == ours
    for name, options in told.items():
        parser = load_command_class("bookings", name).create_parser("manage.py", name)
        usual = load_command_class("django.core", "check").create_parser("manage.py", "check")
        own = parser._option_string_actions.keys() - usual._option_string_actions.keys()
        assert options <= own, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_that_a_sentence_names_exists(page):
    assert set(_NAMED.findall(prose(page))) <= set(get_commands())


def test_the_layers_shown_are_those_that_are_checked():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = told["tool"]["importlinter"]["contracts"][0]["layers"]
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    shown = text.partition("## Layers")[2].partition("```text\n")[2].partition("\n```")[0]
    assert shown.splitlines() == layers


def test_each_alarm_has_a_row():
    assert names("operations.md", "Alarms") == {alarm.name for alarm in ALARMS}


def test_each_kind_of_ticket_has_a_row():
    told = ", ".join(first for first, *_ in rows("admin-guide.md", "Needs attention"))
    assert {label for label in TicketKind.labels if label not in told} == set()


@pytest.mark.django_db
def test_each_field_of_readyz_has_a_row(client):
    answer = set(client.get("/readyz").json()) - {"database"}
    told = names("operations.md", "Health")
    assert answer <= told
    assert told - answer <= {"disk", "disk_free_percent"}  # on SQLite only


def test_each_column_of_a_manifest_has_a_row():
    assert names("admin-guide.md", "Upload deliveries") == set(COLUMNS)


def printed() -> list[str]:
    """Return what `./run` and our commands print, as patterns: whatever is filled in matches anything."""
    shell = re.findall(r'echo "([^"\n]+)"', (ROOT / "run").read_text(encoding="utf-8"))
    patterns = [re.sub(r"\\\$\w+", ".+", re.escape(line)) for line in shell]
    for path in (ROOT / "bookings" / "management").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                    for part in node.values
                )
                patterns.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                patterns.append(re.escape(node.value))
    return [pattern for pattern in patterns if re.search(r"\w{3}", pattern)]


def test_readme_shows_the_real_output():
    blocks = re.findall(
        r"^```console\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    lines = [line for block in blocks for line in block.splitlines() if line[:2] != "$ "]
    patterns = printed()
    assert len(lines) > 3
    unknown = [line for line in lines if not any(re.fullmatch(one, line) for one in patterns)]
    assert unknown == []


def defaults() -> dict[str, str]:
    """Return the plain defaults in settings.py, as the page writes them."""
    tree = ast.parse((ROOT / "delivery_sms" / "settings.py").read_text(encoding="utf-8"))
    found = {}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        default, name = keywords.get("default"), call.args[0] if call.args else None
        if isinstance(name, ast.Constant) and isinstance(default, ast.Constant):
            value = default.value
            found[str(name.value)] = f"{value:g}" if isinstance(value, float) else str(value)
    return {name: "none" if value in {"", "None"} else value for name, value in found.items()}


def test_the_page_of_settings_tells_their_defaults():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^`|]+?)`? \|", text, re.MULTILINE))
    expected = defaults()
    assert len(expected) > 15
    assert {name: told[name] for name in expected} == expected


def test_each_class_of_the_glossary_exists():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`((?:[A-Z][a-z]+)+|SMSGateway)`", text))
    sources = [path.read_text(encoding="utf-8") for path in Path(ROOT, "bookings").rglob("*.py")]
    classes = {
        name for source in sources for name in re.findall(r"^class (\w+)", source, re.MULTILINE)
    }
    assert {"Booking", "Ticket"} <= told
    assert told - classes == set()


def test_each_name_of_a_page_or_button_in_the_guide_is_one():
    """Names in bold, such as **Weekly pattern**, are words of the admin."""
    told = {
        " ".join(name.split()).rstrip(" …")
        for page in ("admin-guide.md", "operations.md", "permissions.md")
        for name in re.findall(r"\*\*([A-Z][^*]+?)\*\*", (DOCS / page).read_text("utf-8"))
    }
    paths = [*(ROOT / "bookings").rglob("*.py"), *(ROOT / "templates").rglob("*.html")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    assert len(told) > 10
    assert {name for name in told if name not in sources} == set()
