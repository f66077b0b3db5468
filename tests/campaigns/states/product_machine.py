"""The complete Hypothesis state machine: each rule can happen at any time and in any order.

What people do stands in people.py and office.py; here stand the senders and their deaths, the network and its
webhooks, and time.
"""

import datetime as dt

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.campaigns.states.booking_and_reply_rules import phone, pick
from tests.campaigns.states.invariant_checks import DatabaseSnapshot
from tests.campaigns.states.reference_model import require
from tests.campaigns.states.simulated_network import ANSWERS
from tests.campaigns.states.staff_rules import StaffRules
from tests.campaigns.states.vonage_requests import ReceiptRequest

MOMENTS = [
    {"seconds": 1},
    {"seconds": 61},
    {"minutes": 5},
    {"minutes": 16},
    {"minutes": 61},
    {"hours": 5},
]
LONG_MOMENTS = [{"hours": 13}, {"hours": 26}, {"hours": 38}, {"hours": 74}]
STATUSES = [
    "delivered",
    "accepted",
    "buffered",
    "expired",
    "failed",
    "failed",
    "rejected",
    "unknown",
]

answer = st.sampled_from(["accepted"] * 6 + list(ANSWERS))


class ProductMachine(StaffRules):
    """Adds rules for senders, the network, webhooks and time."""

    # The network

    @rule()
    def send_texts(self) -> None:
        """Send texts that the network accepts, which is the common case."""
        self.send_all()

    @rule(most=st.integers(1, 3), answer=answer)
    def send(self, most: int, answer: str) -> None:
        self.simulation.network.answer = answer
        for message in self.simulation.claim(most):
            self.simulation.hand_over(message)

    @rule(
        answer=st.sampled_from(["accepted", "refused"]),
        dies=st.sampled_from(["before", "after", "claimed"]),
    )
    def kill_sender(self, answer: str, dies: str) -> None:
        """Kill a sender after its claim, before the first byte, or before it stores the answer."""
        network = self.simulation.network
        network.answer = answer
        for message in self.simulation.claim(1):
            network.dies = dies
            if dies != "claimed":
                self.simulation.hand_over(message)
            network.dies = ""

    @rule(answer=answer, at=st.sampled_from(["claimed", "called", "answered"]))
    def freeze_sender(self, answer: str, at: str) -> None:
        self.simulation.network.answer = answer
        for message in self.simulation.claim(1):
            self.simulation.freeze(message, at)

    @precondition(lambda self: self.simulation.frozen)
    @rule(which=pick)
    def frozen_sender_continues(self, which: int) -> None:
        frozen = self.simulation.frozen
        self.simulation.resume(frozen.pop(which % len(frozen)))

    @precondition(lambda self: self.simulation.network.accepted_texts)
    @rule(
        which=pick,
        part=pick,
        status=st.sampled_from(STATUSES),
        code=st.sampled_from(["1", "9", "9"]),
        names_ref=st.booleans(),
    )
    def deliver_receipt(
        self, which: int, part: int, status: str, code: str, *, names_ref: bool
    ) -> None:
        """Deliver a receipt for any text that the network accepted, possibly before the sender stores its answer."""
        accepted_texts = list(self.simulation.network.accepted_texts.values())
        post = accepted_texts[-1 - which % len(accepted_texts)]
        name = post.parts[0 if post.is_partial else part % len(post.parts)]
        fields = {
            "messageId": name,
            "status": status,
            "err-code": code if status == "failed" else "0",
        }
        fields |= {"client-ref": post.sms.client_ref} if names_ref else {}
        self.simulation.deliver(
            ReceiptRequest(
                key=f"dlr-{sorted(fields.items())}",
                fields=self._stamped(fields),
                secret=self.simulation.secrets[-1],
                sent_at=self.simulation.now,
                post=post,
                part=name,
                status="submitted" if status == "unknown" else status,
                opts_out=fields["err-code"] == "9",
                names_ref=names_ref,
            )
        )

    @precondition(lambda self: self.simulation.requests)
    @rule(which=st.integers(0, 30))
    def redeliver(self, which: int) -> None:
        """Post an earlier request again, as Vonage does when it retries or an attacker who recorded it."""
        requests = self.simulation.requests
        self.simulation.deliver(requests[-1 - which % len(requests)])

    @rule(msisdn=phone, which=pick, hours=st.sampled_from([0, 26, -1]))
    def forge(self, msisdn: str, which: int, hours: int) -> None:
        """Post a reply that is signed with another secret, or validly signed with a wrong time."""
        digit = self._printed(msisdn, which)
        self._write(msisdn, str(digit), digit, secret="" if hours else "a guess", hours=hours)

    @rule()
    def rotate_secret(self) -> None:
        """Add a new secret beside the old one; the next call removes the old one."""
        secrets = self.simulation.secrets
        self.simulation.rotate_secrets(secrets[1:] or [*secrets, secrets[0] + "+"])

    # Time

    @rule(by=st.sampled_from([*MOMENTS, *LONG_MOMENTS]))
    def let_time_pass(self, by: dict[str, int]) -> None:
        self.simulation.advance(dt.timedelta(**by))

    @rule()
    def sweep(self) -> None:
        self.simulation.sweep()

    @rule()
    def restart(self) -> None:
        """Drop all frozen senders and let their leases end: nothing may stay in `sending`."""
        self.simulation.frozen.clear()
        self.simulation.advance(dt.timedelta(seconds=61))
        self.simulation.sweep()
        stuck = [row for row in DatabaseSnapshot.take().messages if row[3] == "sending"]
        require(not stuck, "I7: a message is still being sent, and its sender is gone")
