"""Check the stored data for contradictions; print one line for each."""

import time
from typing import Any

from django.core.management import BaseCommand

from bookings.operations.invariants import find_contradictions

#: Seconds between the two checks, so that transactions under way can commit.
_PAUSE = 1.0


class Command(BaseCommand):
    help = "Prints a line for each contradiction in the data and exits 1; prints nothing if it is sound."

    def handle(self, **options: Any) -> None:
        contradictions = list(find_contradictions())
        if contradictions:
            # While others write, a contradiction can be the gap between two of our reads.
            time.sleep(_PAUSE)
            still = set(find_contradictions())
            contradictions = [line for line in contradictions if line in still]
        for line in contradictions:
            self.stdout.write(line)
        if contradictions:
            raise SystemExit(1)
