"""Web and sender together, on one machine: what `./run` starts."""

import os
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connections

from bookings.management.supervisor import Child, Supervisor

DEFAULT_PORT = 8000
PORTS_TRIED = 100


class Command(BaseCommand):
    help = "Serves the web and, unless told otherwise, sends from the outbox. Ctrl-C ends both."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, help="default: the first free one from 8000")
        parser.add_argument("--no-sender", action="store_true", help="the web alone")
        parser.add_argument(
            "--prepare", action="store_true", help="first migrate and, with the simulator, demo"
        )
        parser.add_argument("--socket", type=int, help="an inherited listening socket's number")

    def handle(self, **options: Any) -> None:
        if options["socket"] is None:
            self.supervise(bind(options["host"], options["port"]), options)
        else:
            serve_web(socket.socket(fileno=options["socket"]))

    def supervise(self, listener: socket.socket, options: dict[str, Any]) -> None:
        """The supervisor keeps the socket: no caller is turned away while the web restarts."""
        host, port = listener.getsockname()
        # The simulator posts its webhooks to us, wherever we are.
        if not os.environ.get("SIMULATOR_BASE_URL"):
            os.environ["SIMULATOR_BASE_URL"] = f"http://127.0.0.1:{port}"
        if options["prepare"]:
            self.prepare()
        self.stdout.write(f"Open http://{host}:{port}/ (Ctrl-C stops everything)")
        self.stdout.flush()
        manage = (sys.executable, sys.argv[0])
        number = listener.fileno()
        web = Child("web", (*manage, "serve", "--socket", str(number), "--skip-checks"), number)
        sender = Child("sender", (*manage, "run_outbox"))
        Supervisor([web] if options["no_sender"] else [web, sender]).run()

    def prepare(self) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        if settings.SMS_GATEWAY == "simulator":
            call_command("demo", stdout=self.stdout)
        connections.close_all()


def bind(host: str, port: int | None) -> socket.socket:
    """A socket that listens at `port`, or at the first free one from 8000 if none is named."""
    candidates = range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED) if port is None else [port]
    reason = ""
    for candidate in candidates:
        try:
            return socket.create_server((host, candidate), backlog=1024)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
    raise CommandError(f"Cannot listen on {host}, port {candidates[0]}: {reason}.")


def serve_web(listener: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those in flight."""
    from bookings.management import web_server  # noqa: PLC0415  # the supervisor has no need of it
    from delivery_sms.wsgi import application  # noqa: PLC0415  # sets the web's time limits

    behind_proxy = {
        "trusted_proxy": "*",
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"},
        "clear_untrusted_proxy_headers": True,
    }
    web_server.serve(application, listener, **(behind_proxy if settings.BEHIND_PROXY else {}))
