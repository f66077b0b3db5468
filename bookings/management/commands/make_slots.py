"""Make the slots of the coming weeks from the weekly pattern. Run it daily."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bookings.scheduling.weekly_pattern import MOST_WEEKS, make_slots


class Command(BaseCommand):
    help = (
        "Make the slots that the week's pattern asks for and that are missing, from tomorrow on."
        " Closed days get none, and slots that are there stay as they are."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--weeks", type=int, default=2, help=f"1 to {MOST_WEEKS} (2).")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = make_slots(options["weeks"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"slots made: {count}")
