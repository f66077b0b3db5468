"""Settings from the environment: accepted values, and values that stop the start."""

import json
import os
import subprocess
import sys
from datetime import time
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from delivery_sms import environment
from delivery_sms.environment import Env, read_env_file

ROOT = Path(__file__).resolve().parents[2]
SECRET = "x" * 50
PRODUCTION = {
    "SECRET_KEY": SECRET,
    "SMS_GATEWAY": "vonage",
    "VONAGE_API_KEY": "abcd1234",
    "VONAGE_API_SECRET": "secret",
    "VONAGE_NUMBERS": "447700900000",
    "VONAGE_SIGNATURE_SECRETS": SECRET,
}
DEMO = {"SECRET_KEY": SECRET, "DEBUG": "True"}
SHOW = """
import json, sys
from django.conf import settings
print(json.dumps({name: getattr(settings, name) for name in sys.argv[1:]}, default=str))
"""


def start(env, *names):
    """Start a process with these settings alone; returns its output or its last error line."""
    clean = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "delivery_sms.settings"}
    result = subprocess.run(
        [sys.executable, "-c", SHOW, *(names or ["DEBUG"])],
        env=clean | {"ENV_FILE": os.devnull} | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(result.stdout) if result.returncode == 0 else result.stderr.splitlines()[-1]


def test_a_production_and_a_demo_start():
    assert start(PRODUCTION) == {"DEBUG": False}
    assert start(DEMO) == {"DEBUG": True}


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({}, "SECRET_KEY is not set"),
        (PRODUCTION | {"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        (PRODUCTION | {"SMS_GATEWAY": "simulator"}, "ALLOW_SIMULATOR=True"),
        (PRODUCTION | {"VONAGE_API_KEY": ""}, "needs VONAGE_API_KEY"),
        (PRODUCTION | {"VONAGE_API_SECRET": ""}, "needs VONAGE_API_KEY"),
        (PRODUCTION | {"VONAGE_NUMBERS": " , "}, "needs VONAGE_API_KEY"),
        (PRODUCTION | {"VONAGE_SIGNATURE_SECRETS": " , "}, "a forged one"),
        (PRODUCTION | {"OUTBOX_ENGINE": "celery"}, "OUTBOX_ENGINE must be one of worker"),
        (PRODUCTION | {"SMS_GATEWAY": "pigeon"}, "SMS_GATEWAY must be one of simulator, vonage"),
        (PRODUCTION | {"VONAGE_SIGNATURE_METHOD": "sha3"}, "must be one of md5hash, md5"),
        (PRODUCTION | {"DEBUG": "True # not yet"}, "DEBUG must be True or False"),
        (PRODUCTION | {"QUIET_HOURS": "8pm-8am"}, "QUIET_HOURS must look like 20:00-08:00"),
        (PRODUCTION | {"QUIET_HOURS": "25:00-08:00"}, "QUIET_HOURS must look like 20:00-08:00"),
        (PRODUCTION | {"QUIET_HOURS": "08:00-08:00"}, "QUIET_HOURS must not begin and end"),
        (PRODUCTION | {"DELIVERY_DAYS": "weekdays"}, "DELIVERY_DAYS must look like mon-sat"),
        (PRODUCTION | {"TIME_ZONE": "London"}, "TIME_ZONE must be a zone"),
        (PRODUCTION | {"PHONE_REGION": "uk!"}, "PHONE_REGION must be two capitals"),
        (PRODUCTION | {"VONAGE_NUMBERS": "07700 900000"}, "VONAGE_NUMBERS must hold numbers"),
        (PRODUCTION | {"VONAGE_REST_HOST": "https://rest.nexmo.com"}, "must be a host alone"),
        (PRODUCTION | {"WEBHOOK_TOKEN": "a/b"}, "WEBHOOK_TOKEN must be letters"),
        (PRODUCTION | {"SMS_RATE_PER_SECOND": "0"}, "SMS_RATE_PER_SECOND must be more than 0"),
        (PRODUCTION | {"SMS_RATE_PER_SECOND": "nan"}, "SMS_RATE_PER_SECOND must be a number"),
        (PRODUCTION | {"CHANGE_CUTOFF_HOURS": "-1"}, "CHANGE_CUTOFF_HOURS must be a whole"),
        (PRODUCTION | {"CHANGE_CUTOFF_HOURS": "a day"}, "CHANGE_CUTOFF_HOURS must be a whole"),
        (PRODUCTION | {"DATABASE_URL": "mysql://host/name"}, "DATABASE_URL must begin with"),
        (
            PRODUCTION | {"DATABASE_URL": "postgres://u:pw@host:x/name"},
            "DATABASE_URL cannot be read",
        ),
        (PRODUCTION | {"SECRET_KEY_FILE": "/nowhere"}, "SECRET_KEY_FILE names /nowhere"),
        (PRODUCTION | {"ENV_FILE": "/nowhere"}, "ENV_FILE names /nowhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_word_stops_the_start_and_names_its_variable(env, complaint):
    assert complaint in start(env)


def test_empty_setting_has_its_default_and_empty_quiet_hours_mean_none():
    names = ("QUIET_HOURS", "CHANGE_CUTOFF_HOURS", "SMS_RATE_PER_NUMBER", "VONAGE_NUMBERS")
    empty = dict.fromkeys(names, "")
    assert start(DEMO | empty, *names) == {
        "QUIET_HOURS": None,
        "CHANGE_CUTOFF_HOURS": 12,
        "SMS_RATE_PER_NUMBER": None,
        "VONAGE_NUMBERS": ["447700900000"],
    }
    assert start(DEMO, "QUIET_HOURS") == {"QUIET_HOURS": ["20:00:00", "08:00:00"]}


def test_sqlite_waits_for_its_turn_and_for_the_disk():
    [options] = [start(DEMO, "DATABASES")["DATABASES"]["default"]["OPTIONS"]]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "synchronous=FULL" in options["init_command"]
    assert "journal_mode=WAL" in options["init_command"]
    assert (options["timeout"], "busy_timeout=4000" in options["init_command"]) == (1, True)


def test_postgresql_gives_up_on_a_connection_before_the_gateway_gives_up_on_us():
    env = DEMO | {"DATABASE_URL": "postgres://user:p%40ss@host/name"}
    database = start(env, "DATABASES")["DATABASES"]["default"]
    assert database["OPTIONS"]["connect_timeout"] < 5
    assert database["CONN_HEALTH_CHECKS"] is True
    assert database["PASSWORD"] == "p@ss"


@pytest.fixture
def env(monkeypatch):
    """Return a reader of an environment with the test's values and no others."""

    def _env(**variables):
        monkeypatch.setattr(Env, "ENVIRON", variables)
        return Env()

    return _env


def test_dollar_sign_is_not_expanded(env):
    assert env(SECRET="$HOME").str("SECRET") == "$HOME"


def test_a_list_has_no_blanks(env):
    assert env(HOSTS=" a.example , ,b.example,").list("HOSTS") == ["a.example", "b.example"]


def test_a_secret_can_come_from_a_file(env, tmp_path):
    (tmp_path / "secret").write_text("from the file\n")
    reader = env(SECRET="from the environment", SECRET_FILE=str(tmp_path / "secret"))
    assert reader.str("SECRET") == "from the file"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "from .env"),
        ({"SECRET": "real"}, "real"),
        ({"SECRET": ""}, "default"),
    ],
    ids=["not set", "set", "set to nothing"],
)
def test_the_real_environment_beats_the_file(env, tmp_path, variables, expected):
    (tmp_path / ".env").write_text("# a comment\nSECRET=from .env\n")
    reader = env(**variables)
    read_env_file(tmp_path / ".env")
    assert reader.str("SECRET", default="default") == expected


def test_a_real_value_beats_a_file_that_env_names(env, tmp_path):
    (tmp_path / ".env").write_text("SECRET_FILE=/nowhere\n")
    reader = env(SECRET="real")
    read_env_file(tmp_path / ".env")
    assert reader.str("SECRET") == "real"


def test_missing_setting_is_named(env):
    with pytest.raises(ImproperlyConfigured, match="SECRET is not set"):
        env().str("SECRET")


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-sat", {0, 1, 2, 3, 4, 5}),
        ("Mon, Wed ,fri", {0, 2, 4}),
        ("sat-mon", {5, 6, 0}),
        ("sun", {6}),
        ("mon-tue,fri-sat", {0, 1, 4, 5}),
    ],
)
def test_delivery_days_are_read(text, days):
    assert environment.weekdays(text) == days


@pytest.mark.parametrize("text", ["", "mon-", "mon--sat", "-sat", "mon,,tue", "monday", "mon-xyz"])
def test_malformed_delivery_days_are_refused(text):
    with pytest.raises(ValueError, match="must look like"):
        environment.weekdays(text)


def test_quiet_hours_are_read():
    assert environment.quiet_hours("20:00-08:00") == (time(20), time(8))
    assert environment.quiet_hours("12:30 - 13:00") == (time(12, 30), time(13))


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("447700900000", "447700900000"),
        ("+44 7700 900-000", "447700900000"),
        ("(1) 202-555-0100", "12025550100"),
        ("Acme Ltd", "Acme Ltd"),
    ],
)
def test_senders_are_read(text, sender):
    assert environment.sender(text) == sender


@pytest.mark.parametrize("text", ["07700900000", "12345", "1" * 16, "An Overlong Name", "Ä1234"])
def test_sender_that_cannot_be_answered_is_refused(text):
    with pytest.raises(ValueError, match="country code"):
        environment.sender(text)


def test_options_of_the_database_url_are_kept():
    env = DEMO | {"DATABASE_URL": "postgres://user@host/name?sslmode=require"}
    found = start(env, "DATABASES")["DATABASES"]["default"]["OPTIONS"]
    assert found["sslmode"] == "require"
    assert found["connect_timeout"] == 2
