"""The web server is stopped or restarted while replies come in."""

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest
import requests
from django.db import connection

from bookings.models import InboundMessage
from tests.fake_vonage import FakeVonage, post_inbound
from tests.flow.conftest import url_of
from tests.network import new_id
from tests.processes import SECRET, VIRTUAL_NUMBER, environment, running, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 24  # more than the web has threads, so that some requests wait in its queue


@pytest.fixture
def listener():
    """Open the listening socket that stays open between two web servers, as systemd does."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


@pytest.fixture
def start_web(listener, tmp_path):
    """Start a web server at the socket as a process of its own; it answers by then."""
    logs = count(1)
    with FakeVonage() as network, ExitStack() as closing:
        env = environment(network, url_of(str(connection.settings_dict["NAME"])))

        def start():
            number, log = listener.fileno(), tmp_path / f"web-{next(logs)}"
            arguments = ("serve", "--no-sender", "--socket", str(number))
            process = closing.enter_context(
                running(*arguments, env=env, log=log, pass_fds=[number])
            )
            wait_for(lambda: "Open http" in log.read_text(encoding="utf-8"))
            return process

        yield start


@pytest.fixture
def base_url(listener):
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


class Traffic:
    """Replies from many clients; `answers` maps message ids to statuses, None for a broken connection."""

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
        """Post as Vonage does: again after a 503 and after no answer."""
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
        """Wait for about two more answers for each client."""
        before = len(self.answers)
        wait_for(lambda: len(self.answers) > before + 2 * CALLERS, seconds=40)

    def answered_with(self, status):
        return {message_id for message_id, got in self.answers.items() if got == status}


def stored():
    return set(InboundMessage.objects.values_list("gateway_message_id", flat=True))


def test_restart_at_the_same_socket_answers_every_request_with_200(start_web, base_url):
    old, traffic = start_web(), Traffic(base_url)
    with traffic.flowing():
        traffic.wait_for_more()
        old.terminate()
        assert old.wait(30) == 0
        start_web()
        traffic.wait_for_more()
    assert set(traffic.answers.values()) == {200}
    assert stored() == set(traffic.answers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_web_server_finishes_requests_in_flight_and_accepts_no_more(
    start_web, listener, base_url, number
):
    web, traffic = start_web(), Traffic(base_url)
    listener.close()  # so that clients are refused once the web server has closed its own
    with traffic.flowing():
        traffic.wait_for_more()
        web.send_signal(number)
        assert web.wait(30) == 0
    assert set(traffic.answers.values()) == {200, None}
    assert stored() == traffic.answered_with(200)
