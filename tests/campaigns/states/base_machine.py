"""State and helpers that every rule of the state machine uses, and the checks after each step."""

import datetime as dt
import sys
from collections import Counter
from typing import ClassVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from bookings.models import Booking, Slot
from bookings.operations.invariants import find_contradictions
from tests.campaigns.states.invariant_checks import DatabaseSnapshot, check_invariants
from tests.campaigns.states.reference_model import Meaning, require
from tests.campaigns.states.simulation import Simulation, inbound_fields
from tests.campaigns.states.sms_reader import SlotKey
from tests.campaigns.states.vonage_requests import ReplyRequest

WINDOWS = [(9, 12, 1), (13, 17, 2)]  # start, end (hours), capacity
#: Steps between two runs of `check_invariants`, which reads all tables and takes as long as twenty steps.
CHECKED_EVERY = 25


#: Findings of `check_invariants` that also occur in sound traffic (tests/flow/test_found_by_campaigns.py).
_FALSE_ALARMS = ("a newer answer waits", "sent to somebody who had opted out")


def _is_false(line: str) -> bool:
    return line.endswith(_FALSE_ALARMS)


class BaseMachine(RuleBasedStateMachine):
    """One example: a new simulation, rolled back at the end. `tally` counts acts, `failed_after` steps to a finding."""

    tally: ClassVar[Counter[str]] = Counter()
    failed_after: ClassVar[list[int]] = []

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation()
        self.model = self.simulation.model
        self.steps = self.written = 0

    def teardown(self) -> None:
        """Add the counts of this example to the tally and roll it back."""
        kind = sys.exc_info()[0]
        if kind is not None and issubclass(kind, Exception):
            self.failed_after.append(self.tally["steps"])
        self.tally["moves"] += self.simulation.moves
        self.tally["reminders"] += self.simulation.reminders
        self.tally["texts that the network took"] += len(self.simulation.read)
        self.simulation.close()

    @invariant()
    def check_promises(self) -> None:
        """Check every promise after a step; now and then also with the product's own `check_invariants`."""
        simulation, self.steps = self.simulation, self.steps + 1
        self.tally["steps"] += 1
        before, simulation.snapshot = simulation.snapshot, DatabaseSnapshot.take()
        check_invariants(simulation.snapshot, before, self.model, simulation.network)
        if self.steps % CHECKED_EVERY == 0:
            simulation.sweep()
            found = next((line for line in find_contradictions() if not _is_false(line)), None)
            require(found is None, f"check_invariants: {found}")
            simulation.snapshot = DatabaseSnapshot.take()
        simulation.clock.shift(1)

    # Helpers of the rules

    def send_all(self) -> None:
        """Claim and send up to two texts, which the network accepts."""
        self.simulation.network.answer = "accepted"
        for message in self.simulation.claim(2):
            self.simulation.hand_over(message)

    def _slot(self, days: int, window: int) -> SlotKey:
        start, end, capacity = WINDOWS[window]
        date = self.simulation.now.date() + dt.timedelta(days=days)
        slot = SlotKey("door", date, dt.time(start), dt.time(end))
        self.model.capacity.setdefault(slot, capacity)
        return slot

    def _unsaved(self, slot: SlotKey) -> Slot:
        place, date, start, end = slot
        capacity = self.model.capacity[slot]
        unsaved = Slot(
            place=place, date=date, window_start=start, window_end=end, capacity=capacity
        )
        return (
            Slot.objects.filter(place=place, date=date, window_start=start, window_end=end).first()
            or unsaved
        )

    def _booking(self, number: int) -> Booking | None:
        return Booking.objects.select_related("slot").filter(reference=f"P-{number}").first()

    def _printed(self, msisdn: str, which: int) -> int:
        """Return a digit from this phone's notifications, the latest digit for 0; any digit if there is none."""
        digits = [
            digit
            for notification in self.model.of_phone(msisdn)
            for digit in reversed(notification.options)
        ]
        return digits[which % len(digits)] if digits else which + 1

    def _write(
        self,
        msisdn: str,
        text: str,
        meaning: Meaning,
        *,
        fault: int = 0,
        secret: str = "",
        hours: int = 0,
    ) -> None:
        self.simulation.deliver(
            self._request(msisdn, text, meaning, secret=secret, hours=hours), fault_at=fault
        )

    def _request(
        self,
        msisdn: str,
        text: str,
        meaning: Meaning,
        *,
        secret: str = "",
        hours: int = 0,
        **part: str,
    ) -> ReplyRequest:
        self.written += 1
        self.tally["customers' texts"] += 1
        key = f"in-{self.written}"
        sent_at = self.simulation.now - dt.timedelta(hours=hours)
        return ReplyRequest(
            key=key,
            fields=self._stamped(inbound_fields(key, msisdn, text, **part), sent_at),
            secret=secret or self.simulation.secrets[-1],
            sent_at=sent_at,
            msisdn=msisdn,
            meaning=meaning,
            text_key=part.get("concat_ref", ""),
            piece=(int(part["concat_part"]), int(part["concat_total"])) if part else None,
        )

    def _stamped(self, fields: dict[str, str], at: dt.datetime | None = None) -> dict[str, str]:
        return fields | {"timestamp": str(int((at or self.simulation.now).timestamp()))}
