"""Retention: erase names, numbers and texts of old deliveries and messages. Counts stay correct."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bookings.operations.retention import erase_old


class Command(BaseCommand):
    help = "Erase names, numbers and texts of deliveries and messages that are old enough. Run it nightly."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=90, help="How old they must be (90).")
        parser.add_argument("--dry-run", action="store_true", help="Only count.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            forgotten = erase_old(options["days"], dry_run=options["dry_run"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        for table, count in forgotten.items():
            self.stdout.write(f"{table}: {count}")
