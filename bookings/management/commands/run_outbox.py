"""The sender as a process of its own. Any number of these may run, on any number of machines."""

import logging
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from bookings.operations.worker import THREADS, Worker, send_due

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Hand queued messages to the gateway, until stopped (Ctrl-C, SIGTERM)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="One sweep and one batch, then stop."
        )
        parser.add_argument(
            "--drain", action="store_true", help="Send all that is due now, then stop."
        )
        parser.add_argument(
            "--threads", type=int, default=THREADS, help=f"Calls at the same time ({THREADS})."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"] or options["drain"]:
            send_due(only_once=options["once"] and not options["drain"])
        else:
            send(options["threads"])


def send(threads: int) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    worker = Worker(threads)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: worker.stop())
    logger.info("Sender started: %s, %s threads", settings.SMS_GATEWAY, threads)
    worker.run()
    logger.info("Sender stopped")
