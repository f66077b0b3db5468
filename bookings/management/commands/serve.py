"""The web server and the sender in one process: what `./run` starts."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connections

from bookings.management import web_server
from bookings.operations.worker import WorkerThread

logger = logging.getLogger(__name__)

DEFAULT_PORT = 8000
PORTS_TRIED = 100
# After a signal the process has STOP_SECONDS to end. The web server goes on meanwhile for up to LAST_WORDS_SECONDS,
# until the sender has ended: the simulator's last receipts arrive at our own webhook.
STOP_SECONDS = 10.0
LAST_WORDS_SECONDS = 1.5
LOOK_EVERY = 0.2


class Command(BaseCommand):
    help = "Serves the web and, unless told otherwise, sends from the outbox. Ctrl-C ends both."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, help="default: the first free one from 8000")
        parser.add_argument(
            "--socket", type=int, help="the number of an inherited socket that listens, instead"
        )
        parser.add_argument("--no-sender", action="store_true", help="the web alone")
        parser.add_argument(
            "--prepare", action="store_true", help="first migrate and, with the simulator, demo"
        )

    def handle(self, **options: Any) -> None:
        listener = (
            bind(options["host"], options["port"])
            if options["socket"] is None
            else socket.socket(fileno=options["socket"])
        )
        host, port = listener.getsockname()
        # The simulator posts its webhooks to us, wherever we are.
        if not os.environ.get("SIMULATOR_BASE_URL"):
            settings.SIMULATOR_BASE_URL = f"http://127.0.0.1:{port}"
        if options["prepare"]:
            self.prepare()
        sender = None if options["no_sender"] else WorkerThread(os.environ.get("PGOPTIONS", ""))
        server = create_server(listener)
        told = hear_signals()
        self.stdout.write(f"Open http://{host}:{port}/")
        self.stdout.write("Press Ctrl-C to stop.")
        self.stdout.flush()
        run_until_told(server, sender, told)
        if not told:
            raise CommandError("The web server has failed: see above.")

    def prepare(self) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        if settings.SMS_GATEWAY == "simulator":
            call_command("demo", stdout=self.stdout)
        connections.close_all()


def bind(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens at `port`, or at the first free one from 8000 if none is named."""
    candidates = range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED) if port is None else [port]
    reason = ""
    for candidate in candidates:
        try:
            return socket.create_server((host, candidate), backlog=1024)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
    raise CommandError(f"Cannot listen on {host}, port {candidates[0]}: {reason}.")


def create_server(listener: socket.socket) -> web_server.Server:
    """Return the web server at this socket.

    From here on new connections to PostgreSQL have the web's time limits, but for the sender's (`WorkerThread`).
    """
    from delivery_sms.wsgi import application  # noqa: PLC0415  # writes PGOPTIONS

    behind_proxy = {
        "trusted_proxy": "*",
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"},
        "clear_untrusted_proxy_headers": True,
    }
    adjustments: dict[str, Any] = behind_proxy if settings.BEHIND_PROXY else {}
    return web_server.create_server(application, listener, **adjustments)


def hear_signals() -> list[int]:
    """Return a list to which the first signal that ends the process is added. The second ends it at once."""
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup wants it
        signals.remove(signal.SIGHUP)
    told: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        told.append(number)
        for each in signals:
            signal.signal(each, signal.SIG_DFL)

    for number in signals:
        signal.signal(number, hear)
    return told


def run_until_told(
    server: web_server.Server, sender: WorkerThread | None, told: Sequence[int]
) -> None:
    """Serve and send until a signal comes, or the web server ends by itself; then let both finish."""
    web = threading.Thread(target=server.run, name="web", daemon=True)
    web.start()
    if sender is not None:
        sender.start()
    while not told and web.is_alive():
        web.join(LOOK_EVERY)
    finish(server, web, sender)


def finish(server: web_server.Server, web: threading.Thread, sender: WorkerThread | None) -> None:
    """Let requests in flight and calls under way end; what takes longer than STOP_SECONDS is cut off."""
    stop_by = time.monotonic() + STOP_SECONDS
    if sender is not None:
        sender.stop()
        sender.join(LAST_WORDS_SECONDS)
    server.stop()
    threads = [thread for thread in (web, sender) if thread is not None]
    for thread in threads:
        thread.join(max(0.0, stop_by - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        logger.warning(
            "Ended with requests or calls under way: they took over %.0f s", STOP_SECONDS
        )
        os._exit(0)
