"""The web is told to end while replies come in: what it has begun it finishes."""

import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from os import kill
from pathlib import Path

import pytest
import requests
from django.db import connection

from bookings.models import InboundMessage
from tests.fake_vonage import FakeVonage, new_id, post_inbound
from tests.flow.conftest import url_of
from tests.processes import SECRET, VIRTUAL_NUMBER, environment, running, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 24  # more than the web has threads: some wait in its queue, some have only just come


@pytest.fixture
def web(tmp_path):
    """The web that ships, as a process with its supervisor, and its address."""
    log = tmp_path / "web"
    with FakeVonage() as network:
        env = environment(network, url_of(str(connection.settings_dict["NAME"])))
        with running("serve", "--no-sender", "--port", "0", env=env, log=log) as process:
            address = r"http://127\.0\.0\.1:\d+"
            wait_for(lambda: re.search(address, log.read_text(encoding="utf-8")))
            base_url = re.findall(address, log.read_text(encoding="utf-8"))[0]
            assert requests.get(f"{base_url}/healthz", timeout=20).ok
            yield process, base_url


class Traffic:
    """Replies from many at once; each message id with the status that it got, None for a connection that broke."""

    def __init__(self, base_url):
        self.base_url = base_url
        self.answers = {}
        self.ended = threading.Event()
        self._numbers = count(447700910000)

    @contextmanager
    def flowing(self):
        with ThreadPoolExecutor(CALLERS) as threads:
            calls = [threads.submit(self._call) for _ in range(CALLERS)]
            try:
                yield
            finally:
                self.ended.set()
            for call in calls:
                call.result()

    def _call(self):
        while not self.ended.is_set():
            message_id = new_id("0E")
            self.answers[message_id] = self._post(message_id)
            if self.answers[message_id] is None:
                return

    def _post(self, message_id):
        """As Vonage does it: who answers 503, or not at all, is asked again."""
        customer = {"msisdn": str(next(self._numbers)), "to": VIRTUAL_NUMBER, "text": "2"}
        status = 503
        while status == 503:
            try:
                status = post_inbound(
                    self.base_url, message_id=message_id, secret=SECRET, **customer
                )
            except requests.ReadTimeout:
                continue
            except requests.ConnectionError:
                return None
        return status

    def wait_for_more(self):
        """Until there are about two more answers for each."""
        before = len(self.answers)
        wait_for(lambda: len(self.answers) > before + 2 * CALLERS, seconds=40)

    def answered_with(self, status):
        return {message_id for message_id, got in self.answers.items() if got == status}


def web_process(supervisor):
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children")
    return [int(pid) for pid in children.read_text(encoding="ascii").split()]


def stored():
    return set(InboundMessage.objects.values_list("gateway_message_id", flat=True))


def test_a_web_that_is_restarted_answers_everybody_with_200(web):
    supervisor, base_url = web
    traffic = Traffic(base_url)
    (old,) = web_process(supervisor)
    with traffic.flowing():
        traffic.wait_for_more()
        kill(old, signal.SIGTERM)
        wait_for(lambda: web_process(supervisor) not in ([], [old]))
        traffic.wait_for_more()
    assert set(traffic.answers.values()) == {200}
    assert stored() == set(traffic.answers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_web_that_is_stopped_finishes_what_it_has_begun_and_begins_nothing_more(web, number):
    supervisor, base_url = web
    traffic = Traffic(base_url)
    with traffic.flowing():
        traffic.wait_for_more()
        supervisor.send_signal(number)
        assert supervisor.wait(30) == 0
    assert set(traffic.answers.values()) == {200, None}
    assert stored() == traffic.answered_with(200)
