"""The fake Vonage: it runs as a process, takes only whole requests, and calls the webhooks like the real one."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from bookings.gateways import Verdict
from bookings.gateways.signature import METHODS, is_signed
from tests.fake_vonage import FakeVonage, post_inbound
from tests.faults.conftest import SECRET, SMS, gateway_to


def test_vonage_also_runs_as_a_process_of_its_own():
    command = [sys.executable, "-m", "tests.fake_vonage", "--mode", "status:6"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        fake = json.loads(process.stdout.readline())
        url, ca_file = f"https://{fake['host']}", fake["ca_file"]
        with gateway_to(fake["host"], ca_file) as gateway:
            assert gateway.send(SMS).verdict is Verdict.REFUSED
            requests.post(f"{url}/mode", {"mode": "429", "times": 1}, verify=ca_file, timeout=5)
            assert gateway.send(SMS).verdict is Verdict.THROTTLED
            assert gateway.send(SMS).verdict is Verdict.REFUSED
        posts = requests.get(f"{url}/posts", verify=ca_file, timeout=5).json()
        process.send_signal(signal.SIGTERM)
    assert [post["form"]["client-ref"] for post in posts] == [SMS.client_ref] * 3
    assert process.returncode == 0


@pytest.mark.parametrize("sent", [0, 20], ids=["before the body", "within it"])
def test_fake_takes_no_text_from_a_sender_that_dies_during_the_request(sent, vonage):
    body = urlencode({"from": SMS.sender, "to": SMS.to, "text": SMS.text}).encode()
    head = f"POST /sms/json HTTP/1.1\r\nHost: {vonage.host}\r\nContent-Length: {len(body)}\r\n\r\n"
    name, _, port = vonage.host.partition(":")
    tls = ssl.create_default_context(cafile=vonage.ca_file)
    with (
        socket.create_connection((name, int(port)), timeout=5) as plain,
        tls.wrap_socket(plain, server_hostname=name) as connection,
    ):
        connection.sendall(head.encode() + body[:sent])
        os.close(connection.detach())  # without a word, as the kernel does it for who is killed
    with gateway_to(vonage.host, vonage.ca_file) as gateway:
        assert gateway.send(SMS).verdict is Verdict.ACCEPTED
    assert [post.client_ref for post in vonage.posts] == [SMS.client_ref]


@contextmanager
def webhook():
    """Run a server that takes webhooks; yields its base URL and the list of (path, fields)."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            fields = json.loads(body) if is_json else dict(parse_qsl(url.query or body))
            taken.append((url.path, fields))
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            self.do_POST()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", ["json", "form", "get"])
def test_inbound_texts_of_the_fake_are_signed_as_we_check(form, method):
    with webhook() as (base_url, taken):
        status = post_inbound(
            base_url,
            msisdn=SMS.to,
            to=SMS.sender,
            text="2 & a=b é",
            sent_as=form,
            secret=SECRET,
            method=method,
            token="t",
            concat_ref="9",
            keyword=None,
        )
    path, fields = taken[0]
    assert (status, path) == (200, "/webhooks/t/inbound-sms")
    assert is_signed(fields, [SECRET], method)
    assert not is_signed(fields, ["another"], method)
    assert (fields["text"], fields["concat-ref"]) == ("2 & a=b é", "9")
    assert "keyword" not in fields


@pytest.mark.parametrize("delay", [0, 0.01], ids=["before the answer", "after it"])
def test_the_fake_reports_each_part_it_took(delay):
    with (
        webhook() as (base_url, taken),
        FakeVonage(receipts_to=base_url, receipt_delay=delay, webhook={"secret": SECRET}) as vonage,
        gateway_to(vonage.host, vonage.ca_file) as gateway,
    ):
        result = gateway.send(replace(SMS, text="a" * 161))
        deadline = time.monotonic() + 5
        while len(vonage.receipt_statuses) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert vonage.receipt_statuses == [200, 200]
    assert {path for path, _ in taken} == {"/webhooks/delivery-receipt"}
    assert {fields["messageId"] for _, fields in taken} == {p.message_id for p in result.parts}
    for _, fields in taken:
        assert is_signed(fields, [SECRET], "sha256")
        assert (fields["msisdn"], fields["to"]) == (SMS.to, SMS.sender)
        assert (fields["client-ref"], fields["status"]) == (SMS.client_ref, "delivered")
