"""Each command in a fenced block of the README or of docs/ is run, or it is listed here with the reason why not."""

import datetime as dt
import importlib
import re
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.core.management import get_commands as installed_commands

from bookings.models import InboundMessage, Outcome
from tests.campaigns.__main__ import NAMES as CAMPAIGNS
from tests.factories import InboundMessageFactory
from tests.project.test_docs import PAGES, ROOT

pytestmark = pytest.mark.django_db

#: Programs that are not ours, and why no test runs them.
EXTERNAL = {
    "apt": "needs root and changes the machine",
    "cloudflared": "opens a tunnel to the internet",
    "cp": "overwrites files of the machine; test_named_files_exist looks for what it copies",
    "createdb": "needs PostgreSQL's own account",
    "createuser": "needs PostgreSQL's own account",
    "chmod": "changes the access to a file of the installation",
    "curl": "asks a running server: its address is asked here",
    "git": "changes the checkout",
    "ngrok": "opens a tunnel to the internet",
    "nginx": "needs root; the campaign `slow` runs nginx with docs/nginx.conf",
    "pg_dump": "needs a PostgreSQL server with the database",
    "pg_restore": "needs a PostgreSQL server with the database",
    "pip": "installs packages; test_requirements.py checks the locks",
    "systemctl": "needs root and systemd",
}

#: Commands of `manage.py` whose arguments are parsed, but which are not run, and why.
ONLY_PARSED = {
    "createsuperuser": "asks for a password",
    "serve": "serves until it is stopped; test_serve.py runs it",
}

_BLOCK = re.compile(r"^( *)```(sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands_of(text: str) -> list[str]:
    """Return the commands of a page's `sh` blocks, and of the lines that begin with `$` in its `console` blocks."""
    found = []
    for _, kind, block in _BLOCK.findall(text):
        lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
        if kind == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += [line for line in lines if line and not line.startswith("#")]
    return found


COMMANDS = sorted(
    {command for page in PAGES for command in commands_of(page.read_text(encoding="utf-8"))}
)


def words_of(command: str) -> list[str]:
    """Split a command as a shell does, and leave out `sudo` and its user."""
    words = shlex.split(command, comments=True)
    if words[0] == "sudo":
        words = words[3:] if words[1] == "-u" else words[1:]
    return words


def called(prefix: list[str]) -> list[list[str]]:
    """Return the arguments of the commands that begin with these words, each once."""
    commands = [words_of(command) for command in COMMANDS]
    return [words[len(prefix) :] for words in commands if words[: len(prefix)] == prefix]


def of_manage() -> list[list[str]]:
    """Return what the pages call of `manage.py`; `./run worker` is `run_outbox`."""
    workers = [["run_outbox", *arguments] for arguments in called(["./run", "worker"])]
    return called(["./run", "manage"]) + workers


@pytest.fixture(scope="module")
def usage() -> set[str]:
    """Return the commands that `./run help` lists."""
    told = subprocess.run([ROOT / "run", "help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"^\./run ([a-z]+)", told.stdout, re.MULTILINE))


@pytest.fixture
def folder(tmp_path, monkeypatch, settings):
    """A working directory with the files that commands of the pages read or write."""
    day = dt.date.today() + dt.timedelta(days=3)  # noqa: DTZ011  # any day ahead will do
    header = "reference,customer_name,phone,date,window_start,window_end"
    row = f"A1,Ann,07700900001,{day},09:00,12:00"
    (tmp_path / "deliveries.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    settings.STATIC_ROOT = tmp_path / "static"
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_pages_have_commands():
    assert {"./run", "./run test"} <= set(COMMANDS)


def test_each_command_is_of_a_known_kind():
    programs = {words_of(command)[0] for command in COMMANDS}
    ours = {"./run", ".venv/bin/python"}
    assert programs - ours - set(EXTERNAL) == set()


def test_each_exemption_names_a_command_in_the_docs():
    programs = {words_of(command)[0] for command in COMMANDS}
    modules = {words[0] for words in called([".venv/bin/python", "-m"])}
    assert set(EXTERNAL) <= programs | modules
    assert set(ONLY_PARSED) <= {words[0] for words in of_manage()}


def test_run_knows_each_of_its_commands(usage):
    asked = {words[0] for words in called(["./run"]) if words and not words[0].startswith("--")}
    assert asked <= usage


def test_run_names_each_option_that_is_asked_for():
    told = (ROOT / "run").read_text(encoding="utf-8").partition("END\n}")[0]
    for name in ("test", "campaign"):
        options = {word for words in called(["./run", name]) for word in words if word[:2] == "--"}
        assert {option for option in options if option not in told} == set()


def test_each_campaign_exists():
    asked = {words[0] for words in called(["./run", "campaign"])} - {"NAME"}
    assert asked
    assert asked <= set(CAMPAIGNS)


@pytest.mark.parametrize("words", of_manage(), ids=" ".join)
def test_commands_of_manage_run(words, folder):
    name, *arguments = words
    if name in ONLY_PARSED:
        command = load_command_class(installed_commands()[name], name)
        command.create_parser("manage.py", name).parse_args(arguments)
        return
    if name == "replay_inbound":
        InboundMessageFactory.create(pk=arguments[0], outcome=Outcome.ERROR)
    if name == "run_outbox" and not {"--once", "--drain"} & set(arguments):
        arguments.append("--once")
    call_command(name, *arguments, stdout=StringIO(), stderr=StringIO())
    if name == "replay_inbound":
        assert InboundMessage.objects.get(pk=arguments[0]).outcome != Outcome.ERROR


@pytest.mark.parametrize("name", ["no_such_command", "forget --no-such-option"])
def test_a_wrong_command_is_found(name):
    with pytest.raises(CommandError):
        call_command(*name.split())


@pytest.mark.parametrize("words", called(["curl"]), ids=" ".join)
def test_addresses_of_curl_answer(words, client):
    path = re.fullmatch(r"http://127\.0\.0\.1:8000(/\S*)", words[-1])
    assert path
    assert client.get(path[1]).status_code == 200


@pytest.mark.parametrize("words", called([".venv/bin/python", "-m", "pytest"]), ids=" ".join)
def test_paths_given_to_pytest_exist(words):
    paths = [word for word in words if not word.startswith("-")]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("words", called(["./run", "test"]), ids=" ".join)
def test_paths_given_to_run_test_exist(words):
    paths = [word for word in words if not word.startswith("-")]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "words",
    [words for words in called([".venv/bin/python", "-m"]) if words[0].startswith("benchmarks.")],
    ids=" ".join,
)
def test_benchmarks_describe_their_measurement(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [words[0], "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(words[0]).main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage:")


@pytest.mark.parametrize("words", called([".venv/bin/python", "-c"]), ids=" ".join)
def test_python_examples_run(words, tmp_path):
    backup = tmp_path / "backup.sqlite3"
    make = "import sqlite3; sqlite3.connect('db.sqlite3').execute('CREATE TABLE kept (x)')"
    for line in (make, words[0]):
        subprocess.run([sys.executable, "-c", line], cwd=tmp_path, check=True)
    assert b"kept" in backup.read_bytes()


@pytest.mark.parametrize("program", ["cp", "pip"])
def test_named_files_exist(program):
    commands = [words_of(command) for command in COMMANDS]
    ours = [words for words in commands if program in words[:3]]
    names = [word for words in ours for word in words if re.search(r"\.(lock|conf|example)$", word)]
    names = [name for name in names if not name.startswith("/")]
    assert names
    assert [name for name in names if not Path(ROOT / name).exists()] == []
