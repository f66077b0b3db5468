"""Run the rule again for a message on which it failed."""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from bookings.models import InboundMessage, Outcome
from bookings.replies import service


class Command(BaseCommand):
    help = "Answers an inbound message on which our software failed (outcome: error)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="the number in the admin's list")

    def handle(self, **options: Any) -> None:
        outcome = replay(options["id"])
        if outcome == Outcome.ERROR:
            raise CommandError("It failed again: the log says why.")
        self.stdout.write(f"Message {options['id']}: {Outcome(outcome).label}")


@transaction.atomic
def replay(number: int) -> str:
    inbound = InboundMessage.objects.select_for_update(of=("self",)).filter(pk=number).first()
    if inbound is None:
        raise CommandError(f"There is no inbound message {number}.")
    if inbound.outcome not in {"", Outcome.ERROR}:
        label = Outcome(inbound.outcome).label
        raise CommandError(f"Message {number} was dealt with: {label}. Nothing is done twice.")
    service.answer_stored(inbound)
    return inbound.outcome
