"""Recognisable numbers, words and secrets are sent through real processes; no log contains them."""

import re

import pytest
import requests
from django.apps import apps
from django.conf import settings as django_settings

from bookings.models import InboundMessage, Kind, MessageState, OutboundMessage
from tests.factories import NotificationFactory
from tests.fake_vonage import post_inbound, post_receipt
from tests.processes import SECRET, VIRTUAL_NUMBER, running, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

CUSTOMER, STRANGER = "447700900741", "447700900742"
WORDS, OUR_WORDS = "wordsofacustomer", "wordsofours"
TOKEN = "token-canary-0123456789"


@pytest.fixture(params=["line", "json"])
def env(request, process_env):
    return process_env | {"WEBHOOK_TOKEN": TOKEN, "LOG_FORMAT": request.param}


@pytest.fixture
def secrets(env):
    names = ("SECRET_KEY", "VONAGE_API_SECRET", "WEBHOOK_TOKEN", "VONAGE_SIGNATURE_SECRETS")
    return [env[name] for name in names]


@pytest.fixture
def web(env, tmp_path):
    log = tmp_path / "web"
    with running("serve", "--no-sender", "--port", "0", env=env, log=log):
        wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))
        yield re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())[0]


def speak(web):
    """Send valid and invalid requests of a customer, of Vonage and of strangers."""
    real = {"msisdn": CUSTOMER, "to": VIRTUAL_NUMBER, "text": WORDS, "token": TOKEN}
    for way in ("json", "form", "get"):
        assert post_inbound(web, secret=SECRET, sent_as=way, **real) == 200
        assert post_inbound(web, secret="forged", sent_as=way, **real) == 401
        assert post_inbound(web, secret=SECRET, sent_as=way, **real | {"token": "guess"}) == 401
    stranger = real | {"msisdn": STRANGER}
    assert post_inbound(web, secret=SECRET, **stranger) == 200
    url = f"{web}/webhooks/{TOKEN}/inbound-sms"
    for body in (f'{{"msisdn": "{CUSTOMER}", "text": "{WORDS}"', "a" * 20_000, "\x00" + WORDS):
        answer = requests.post(url, body, headers={"Content-Type": "application/json"}, timeout=10)
        assert answer.status_code in {400, 413}
        assert answer.text == ""
    for path in (f"simulator/{CUSTOMER}/", f"nowhere/{CUSTOMER}?text={WORDS}", f"admin/?q={WORDS}"):
        requests.get(f"{web}/{path}", timeout=10)
    requests.get(web, headers={"Host": f"{CUSTOMER}.example"}, timeout=10)


def test_logs_and_tables_show_no_canary(web, env, secrets, vonage, queued, tmp_path):
    NotificationFactory.create(booking__msisdn=CUSTOMER)
    for mode in ("ok", "html502", "accept_then_close", "status:6", "half_body"):
        vonage.set_mode(mode, times=1)
        queued(Kind.ACKNOWLEDGEMENT, msisdn=CUSTOMER, text=f"Acme: {OUR_WORDS}.")
    with running("run_outbox", env=env, log=tmp_path / "sender"):
        speak(web)
        waiting = OutboundMessage.objects.filter(
            state__in=[MessageState.QUEUED, MessageState.SENDING]
        )
        wait_for(lambda: not waiting.exists())
    for post in list(vonage.posts):
        assert post_receipt(web, post, secret=SECRET, token=TOKEN) == 200

    said = "".join((tmp_path / name).read_text() for name in ("web", "sender"))
    assert said.count("Inbound SMS") >= 4  # the harness sees what is logged
    assert said.count("401") >= 6
    for canary in (CUSTOMER, STRANGER, WORDS, OUR_WORDS, *secrets):
        assert canary not in said
    assert InboundMessage.objects.filter(text=WORDS).count() == 4
    stored = "".join(str(list(model._default_manager.values())) for model in apps.get_models())
    assert CUSTOMER in stored
    for secret in (*secrets, django_settings.SECRET_KEY):
        assert secret not in stored
