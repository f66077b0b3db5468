"""A fake Vonage: takes SMS over TLS, counts every POST, misbehaves on request, calls the webhooks.

In a test `with FakeVonage() as fake`; on its own `python -m tests.fake_vonage --port 0`,
where `GET /posts` lists what came and `POST /mode` (`mode`, `times`, `to`) is `set_mode`.

Modes: those of tests/network.py, and half_headers, drip (a good answer in small pieces), drip_headers and drip_body
(never done), endless (a body without end, at full speed), huge (1 GB).
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import ssl
import struct
import tempfile
import threading
import uuid
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl

import requests
import trustme

from tests.network import GSM7, LOST_ANSWERS, Network, Post, new_id

BROKEN_OFF = {*LOST_ANSWERS, "half_headers"}
DRAGGED_OUT = {"drip", "drip_headers", "drip_body", "huge", "endless"}


def post_inbound(
    base_url: str,
    *,
    msisdn: str,
    to: str,
    text: str,
    message_id: str | None = None,
    sent_as: str = "json",
    secret: str | None = None,
    method: str = "sha256",
    token: str | None = None,
    **extra: str | None,
) -> int:
    """Deliver a customer's text as json, form or get; returns the HTTP status of the answer.

    Signed if there is a secret. `extra` adds fields, with `_` for `-`, or drops them if None.
    """
    fields = {
        "api-key": "abcd1234",
        "msisdn": msisdn,
        "to": to,
        "messageId": message_id or new_id("0A"),
        "text": text,
        "type": "text" if set(text) <= GSM7 else "unicode",
        "keyword": (text.split() or [""])[0].upper(),
    }
    path = f"/webhooks/{token}/inbound-sms" if token else "/webhooks/inbound-sms"
    return _deliver(base_url + path, _sealed(fields, extra, secret, method), sent_as)


def post_receipt(
    base_url: str,
    post: Post,
    *,
    status: str = "delivered",
    err_code: str = "0",
    part: int = 1,
    sent_as: str = "json",
    secret: str | None = None,
    method: str = "sha256",
    token: str | None = None,
    **extra: str | None,
) -> int:
    """Deliver a receipt for a part of what was sent; the rest is as in `post_inbound`."""
    fields = {
        "msisdn": post.form.get("to", ""),
        "to": post.form.get("from", ""),
        "network-code": "23410",
        "messageId": post.message_ids[part - 1],
        "price": "0.03330000",
        "status": status,
        "scts": datetime.now(UTC).strftime("%y%m%d%H%M"),
        "err-code": err_code,
        "api-key": "abcd1234",
    }
    if post.client_ref:
        fields["client-ref"] = post.client_ref
    path = f"/webhooks/{token}/delivery-receipt" if token else "/webhooks/delivery-receipt"
    return _deliver(base_url + path, _sealed(fields, extra, secret, method), sent_as)


def _sealed(
    fields: dict[str, str], extra: dict[str, str | None], secret: str | None, method: str
) -> dict[str, str]:
    now = datetime.now(UTC)
    fields["message-timestamp"] = now.strftime("%Y-%m-%d %H:%M:%S")
    if secret is not None:
        fields |= {"timestamp": str(int(now.timestamp())), "nonce": str(uuid.uuid4())}
    changed = fields | {name.replace("_", "-"): value for name, value in extra.items()}
    sent = {name: value for name, value in changed.items() if value is not None}
    return sent if secret is None else {"sig": _signature(sent, secret, method)} | sent


def _signature(fields: dict[str, str], secret: str, method: str) -> str:
    """Vonage's algorithm, written a second time on purpose; upper case, as in Vonage's examples."""
    pairs = sorted(fields.items())
    base = "".join(f"&{name}={re.sub('[&=]', '_', value)}" for name, value in pairs).encode()
    if method == "md5hash":
        return hashlib.md5(base + secret.encode(), usedforsecurity=False).hexdigest()
    return hmac.digest(secret.encode(), base, method).hex().upper()


def _deliver(url: str, fields: dict[str, str], sent_as: str) -> int:
    content = {"Content-Type": "application/json;charset=UTF-8"}
    match sent_as:
        case "json":
            body = json.dumps(fields).encode()
            return requests.post(url, body, headers=content, timeout=15).status_code
        case "form":
            return requests.post(url, fields, timeout=15).status_code
        case "get":
            return requests.get(url, fields, timeout=15).status_code
    raise ValueError(f"Webhooks come as json, form or get, not as {sent_as}.")


class FakeVonage(Network):
    """Vonage's SMS API at `host`, to be trusted with `ca_file`.

    With `receipts_to` (our base URL) it reports every part it took as delivered, `receipt_delay`
    seconds later; with a delay of 0 before it answers the send. `webhook` holds the secret, method,
    token and `sent_as` of `post_receipt`; `receipt_statuses` what our webhook answered.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str = "abcd1234",
        api_secret: str = "AbCdEf0123456789",
        receipts_to: str | None = None,
        receipt_delay: float = 0.1,
        webhook: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        key = base64.b64encode(f"{api_key}:{api_secret}".encode()).decode()
        self.authorization = f"Basic {key}"
        self.receipts_to, self.receipt_delay = receipts_to, receipt_delay
        self.webhook = webhook or {}
        self.receipt_statuses: list[int] = []
        self._directory = tempfile.TemporaryDirectory(prefix="fake-vonage-")
        self.ca_file = str(Path(self._directory.name, "ca.pem"))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
        self._server = _Server(port, self, tls)
        self.host = f"localhost:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._directory.cleanup()

    def on_taken(self, post: Post, number: int) -> None:
        if self.receipts_to and self.receipt_delay:
            timer = threading.Timer(self.receipt_delay, self._send_receipt, [post, number])
            timer.daemon = True
            timer.start()
        elif self.receipts_to:
            self._send_receipt(post, number)

    def _send_receipt(self, post: Post, number: int) -> None:
        """Repeat the receipt until the webhook takes it, as Vonage does, but not for 72 hours."""
        for wait in (0, 1, 2, 4, 8, 15, 30, 60):
            if self.receipts_to is None or self.stopping.wait(wait):
                return
            with suppress(requests.RequestException):
                status = post_receipt(self.receipts_to, post, part=number, **self.webhook)
                self.receipt_statuses.append(status)
                if status == 200:
                    return


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 128

    def __init__(self, port: int, fake: FakeVonage, tls: ssl.SSLContext) -> None:
        self.fake, self._tls, self._open = fake, tls, set[socket.socket]()
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = self.socket.accept()
        # The handshake is left to the first read, in the connection's own thread.
        connection = self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # leaves its TLS alone

    def handle_error(self, *_: object) -> None:
        """Ignore disconnected clients: some tests disconnect on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._say(200, json.dumps([asdict(post) for post in list(self.server.fake.posts)]))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the sender died before its end: there is nothing to take
            self.close_connection = True
            return
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        if self.path == "/mode":
            times = float(form.get("times", "inf"))
            self.server.fake.set_mode(form["mode"], times=times, to=form.get("to", ""))
            self._say(200, "{}")
        else:
            self._answer(*self.server.fake.take(form, self.client_address[1]))

    def _answer(self, post: Post, mode: str) -> None:
        if self.headers.get("Authorization") != self.server.fake.authorization:
            mode = "401"
        if mode in BROKEN_OFF:
            self._break_off(post, mode)
        elif mode in DRAGGED_OUT:
            self._drag_out(post, mode)
        else:
            answer = self.server.fake.answer(post, mode)
            self._say(answer.status, answer.body, answer.headers)

    def _break_off(self, post: Post, mode: str) -> None:
        """Take the SMS, and lose the answer on its way."""
        body = json.dumps(self.server.fake.say(post, ["0"] * len(post.message_ids))).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.close_connection = True
        match mode:
            case "half_headers":
                self.wfile.write(head[:30])
            case "half_body":
                self.wfile.write(head + body[:40])
            case "hang":
                self.server.fake.stopping.wait(60)
            case "accept_then_reset":
                at_once = struct.pack("ii", 1, 0)  # RST in the place of FIN
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                os.close(self.connection.detach())

    def _drag_out(self, post: Post, mode: str) -> None:
        """Take the SMS, and send the answer slowly."""
        body = json.dumps(self.server.fake.say(post, ["0"] * len(post.message_ids))).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        content, piece, pause = {
            "drip": (head % len(body) + b"\r\n" + body, 40, 0.02),
            "drip_headers": (head % len(body) + b"X: y\r\n" * 90, 1, 0.2),
            "drip_body": (head % (len(body) + 999) + b"\r\n" + body + b" " * 999, 4, 0.2),
            "huge": (head % 2**30 + b"\r\n", 2**16, 0),
            "endless": (chunked, 2**16, 0),
        }[mode]
        self.close_connection = mode != "drip"
        self._write(content, piece=piece, pause=pause)
        while mode in {"huge", "endless"} and not self.server.fake.stopping.is_set():
            self._write(b"1000\r\n" + b" " * 4096 + b"\r\n")

    def _write(self, content: bytes, *, piece: int = 2**16, pause: float = 0) -> None:
        """Write the pieces with a pause in seconds after each, until the fake stops."""
        for start in range(0, len(content), piece):
            self.wfile.write(content[start : start + piece])
            if pause and self.server.fake.stopping.wait(pause):
                return

    def _say(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; the first line printed is JSON with `host` and `ca_file`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", default="ok")
    parser.add_argument("--receipts-to", help="our base URL, like http://127.0.0.1:8000")
    parser.add_argument("--receipt-delay", type=float, default=0.1)
    parser.add_argument("--webhook", type=json.loads, help='JSON, like {"secret": "...", ...}')
    told = vars(parser.parse_args())
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    mode = told.pop("mode")
    with FakeVonage(**told) as fake:
        fake.set_mode(mode)
        print(json.dumps({"host": fake.host, "ca_file": fake.ca_file}), flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
