"""The product in this process, with a simulated network, senders that die, and a clock that the rules move."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import time_machine
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.test import Client, override_settings

from bookings.gateways import OutgoingSMS, SendResult, Verdict
from bookings.gateways.signature import sign
from bookings.models import MessageState, OutboundMessage, Pace, SendAttempt
from bookings.operations.maintenance import sweep
from bookings.outbox import sending
from bookings.outbox.claiming import claim
from tests.campaigns.states import sms_reader
from tests.campaigns.states.invariant_checks import DatabaseSnapshot
from tests.campaigns.states.reference_model import (
    LEAST_TIME_TO_ANSWER,
    Move,
    ReferenceModel,
    require,
)
from tests.campaigns.states.simulated_network import (
    NEVER_LEFT,
    AcceptedText,
    SenderKilled,
    SimulatedNetwork,
)
from tests.campaigns.states.vonage_requests import WebhookRequest
from tests.processes import VIRTUAL_NUMBER

START = dt.datetime(2100, 3, 1, 9, tzinfo=dt.UTC)  # a Monday, later than the database's own clock
QUIET = (dt.time(20), dt.time(8))
FROZEN_FOR = dt.timedelta(seconds=30)


@dataclass
class FrozenSender:
    """A sender that stopped with a message: before its call, during it, or before it stored the answer."""

    message: OutboundMessage
    stopped_at: dt.datetime
    attempt: SendAttempt | None = None
    result: SendResult | None = None
    answer: str = ""  # of the network, if it has arrived


class Simulation:
    """The state of one example; `close` rolls all of it back."""

    def __init__(self) -> None:
        self._closing = ExitStack()
        self.clock = self._closing.enter_context(time_machine.travel(START, tick=False))
        self._closing.enter_context(_rolled_back())
        self.secrets = ["first-secret-" * 4]
        self.is_quiet = False
        self._set(VONAGE_SIGNATURE_SECRETS=self.secrets, QUIET_HOURS=None)
        self.client = Client(SERVER_NAME="localhost")
        self.model = ReferenceModel()
        self.network = SimulatedNetwork(begins=self._begins, took=self._took)
        self.frozen: list[FrozenSender] = []
        self.requests: list[WebhookRequest] = []
        self.claimed: dict[
            str, tuple[dt.datetime, bool]
        ] = {}  # by ref: time of the claim, and whether the customer had opted out
        self.read: list[OutgoingSMS] = []  # texts that the phones received
        self.circuit_opened_at: dt.datetime | None = None
        self.stopped_at: dict[
            int, tuple[dt.datetime, bool]
        ] = {}  # by batch: when it stopped, and whether it was cancelled
        self.snapshot = DatabaseSnapshot.take()
        self.moves = self.reminders = 0

    def close(self) -> None:
        """Roll back the example and restore clock and settings."""
        self._closing.close()

    @property
    def now(self) -> dt.datetime:
        """Return the simulated time."""
        return dt.datetime.now(dt.UTC)

    def _set(self, **settings: object) -> None:
        self._closing.enter_context(override_settings(**settings))

    def keep_quiet_hours(self) -> None:
        """Set quiet hours for this example."""
        self.is_quiet = True
        self._set(QUIET_HOURS=QUIET)

    def rotate_secrets(self, secrets: list[str]) -> None:
        """Accept webhooks signed with these secrets only."""
        self.secrets = secrets
        self._set(VONAGE_SIGNATURE_SECRETS=secrets)

    def advance(self, time: dt.timedelta) -> None:
        """Move the clock on, and times that are compared with the database's own clock back."""
        self.clock.shift(time)
        sending_now = OutboundMessage.objects.filter(state=MessageState.SENDING)
        sending_now.update(lease_until=F("lease_until") - time)
        Pace.objects.update(next_at=F("next_at") - time)

    def move(self, move: Move) -> None:
        """Move the delivery in the reference model; the next check compares it with the database."""
        self.moves += move is not None
        self.model.move(move)

    # The webhooks

    def deliver(self, request: WebhookRequest, *, fault_at: int = 0) -> int:
        """Post a request and check its status; returns the status.

        With `fault_at` the database fails at that query, which must give a 503 and change nothing. The request must
        have its effect with its first 200 and none afterwards.
        """
        before = self.snapshot if request not in self.requests else DatabaseSnapshot.take()
        self.requests.append(request)
        is_welcome = request.secret in self.secrets and request.is_fresh(self.now)
        with _fault(fault_at) as fault:
            status = self._post(request)
        expected = 503 if fault.has_come else 200 if is_welcome else 401
        require(status == expected, f"{request} is answered with {status}, not with {expected}")
        if status == 200 and request.key not in self.model.known:
            self.model.known.add(request.key)
            request.apply_to_model(self)
        else:
            what = "I10 a stranger" if status == 401 else "I1 half an effect, or a second one"
            require(DatabaseSnapshot.take() == before, f"{what}: {request} changed something")
        return status

    def _post(self, request: WebhookRequest) -> int:
        fields = dict(request.fields)
        fields["sig"] = sign(fields, request.secret, "sha256")
        path = f"/webhooks/{request.path}"
        return self.client.post(
            path, json.dumps(fields), content_type="application/json"
        ).status_code

    # The senders

    def claim(self, most: int) -> list[OutboundMessage]:
        """Claim messages as a sender does; with the circuit open at most one may be claimed."""
        messages = claim(most).messages
        if self.circuit_opened_at is not None:
            require(len(messages) <= 1, "the circuit is open, and more than one message is tried")
        for message in messages:
            self.claimed[message.ref] = (self.now, message.msisdn in self.model.opted_out)
        return messages

    def hand_over(self, message: OutboundMessage) -> None:
        """Hand a message over as a sender does, to the end or until the sender is killed."""
        began_at = self.now
        with suppress(SenderKilled):
            sending.hand_over(message, self.network)
            attempt = message.attempts.order_by("-number").first()
            if attempt is not None and attempt.token == message.token:
                self._settled(attempt.client_ref, began_at, self.network.answer, is_ours=True)
        if self.network.broken is not None:
            raise self.network.broken

    def freeze(self, message: OutboundMessage, at: str) -> None:
        """Stop a sender `claimed`, `called` or `answered`; `resume` lets it go on later."""
        sender = FrozenSender(message, self.now)
        if at != "claimed":
            sender.attempt = sending.start_call(message)
        if sender.attempt is not None:
            self._begins(self._outgoing(sender))
            if at == "answered":
                sender.result = self.network.transmit(self._outgoing(sender))
                sender.answer = self.network.answer
        self.frozen.append(sender)

    def resume(self, sender: FrozenSender) -> None:
        """Let a frozen sender go on. Like `hand_over` it starts no call after it was held up for too long."""
        if sender.attempt is None:
            self.hand_over(sender.message)
            return
        if sender.result is None and self.now - sender.stopped_at > FROZEN_FOR:
            held_up = "The sender was held up."
            sender.result = SendResult(verdict=Verdict.NOT_SENT, reason=held_up, code="late")
            sender.answer = "not sent"
        if sender.result is None:
            sender.result = self.network.transmit(self._outgoing(sender))
            sender.answer = self.network.answer
        sending.settle(sender.attempt, sender.result)
        began_at = sender.attempt.call_started_at
        self._settled(sender.attempt.client_ref, began_at, sender.answer, is_ours=False)

    def sweep(self) -> None:
        """Run maintenance. It may notify afresh where a text is out of date, which withdraws the old notification."""
        waiting = OutboundMessage.objects.queued().filter(valid_until__lte=self.now)
        for ref in waiting.values_list("ref", flat=True):
            if ref in self.model.notifications:
                self.model.notifications[ref].is_doubtful = True
        sweep()
        for post in self.network.accepted_texts.values():
            if post.is_answered:
                for part, status, opts_out in post.parked:
                    self.record_receipt(post, part, status, opts_out=opts_out)
                post.parked.clear()

    def record_receipt(self, post: AcceptedText, part: str, status: str, *, opts_out: bool) -> None:
        """Record a receipt in the reference model, once the product can know which text it is about."""
        post.receipts.setdefault(part, set()).add(status)
        if opts_out:
            self.model.opted_out.setdefault(post.sms.to, "receipt")

    def _outgoing(self, sender: FrozenSender) -> OutgoingSMS:
        assert sender.attempt is not None
        return sending._outgoing(sender.message, sender.attempt)

    def _settled(
        self, client_ref: str, began_at: dt.datetime, answer: str, *, is_ours: bool
    ) -> None:
        """Record that a sender stored its answer: the state of the circuit, and texts that cannot have been read."""
        post = self.network.accepted_texts.get(client_ref)
        notification = self.model.notifications.get(client_ref.rpartition("-")[0])
        if post is not None:
            post.is_answered = answer in {"accepted", "partial"}
        elif is_ours and answer in NEVER_LEFT and notification is not None:
            notification.calls.pop(client_ref, None)
        if answer == "account":
            self.circuit_opened_at = self.now
        elif answer == "accepted" and (self.circuit_opened_at or self.now) < began_at:
            self.circuit_opened_at = None

    def _begins(self, sms: OutgoingSMS) -> None:
        """Check a text at the first byte of its call: it must be true, and allowed to be sent."""
        message = sms.client_ref.rpartition("-")[0]
        claimed_at, was_out = self.claimed[message]
        is_out = self.model.opted_out.get(sms.to) == "sms" or was_out
        require(
            not is_out or sms_reader.is_about_texts(sms.text),
            "I8: sent to somebody who had opted out",
        )
        told = sms_reader.read_told(sms.text, claimed_at)
        if told is not None:
            self.model.check_told(told)
        self.model.check_offers(sms.to, sms_reader.read_offers(sms.text), self.now)
        self._check_batch(message, claimed_at)
        if reminder := sms_reader.read_reminder(sms.text, claimed_at):
            self.reminders += 1
            self._check_night(claimed_at)
            self.model.check_reminder(sms.to, reminder, claimed_at, self.now)
        elif "No reply: it comes as planned" in sms.text:
            self._asks(sms, message, claimed_at)

    def _asks(self, sms: OutgoingSMS, message: str, claimed_at: dt.datetime) -> None:
        notification = sms_reader.read_notification(sms.text, sms.to, claimed_at)
        require(notification, f"a notification that nobody can read: {sms.text}")
        assert notification is not None
        require(
            self.model.deliveries[notification.reference].msisdn == sms.to,
            "I8: another customer is asked",
        )
        require(
            notification.until - claimed_at >= LEAST_TIME_TO_ANSWER,
            "a notification without time to answer",
        )
        self._check_night(claimed_at)
        notification = self.model.notifications.setdefault(message, notification)
        notification.asked_at = notification.asked_at if notification.calls else self.now
        self.model.check_digits(message, notification)
        notification.calls[sms.client_ref] = False
        self._know_slots(notification)

    def _check_night(self, claimed_at: dt.datetime) -> None:
        is_night = not QUIET[1] <= claimed_at.time() < QUIET[0]
        require(not (self.is_quiet and is_night), "a notification in the quiet hours")

    def _check_batch(self, message: str, claimed_at: dt.datetime) -> None:
        """Check that no text of a stopped batch leaves. A paused batch's texts may if they were claimed before."""
        if not self.stopped_at:
            return  # saves a query for each call
        asks = ("notification", "reminder")  # answers to replies are not stopped
        rows = OutboundMessage.objects.filter(ref=message, kind__in=asks)
        batch = rows.values_list("notification__batch_entry__batch", flat=True).first()
        if batch in self.stopped_at:
            stopped_at, for_good = self.stopped_at[batch]
            is_late = for_good or claimed_at > stopped_at
            require(not is_late, "a text of a stopped batch left")

    def _know_slots(self, notification: sms_reader.SentNotification) -> None:
        """Note the capacities of the slots that the product created for options."""
        for slot in notification.options.values():
            capacity = self.snapshot.capacity_of(slot)
            self.model.capacity.setdefault(slot, capacity)

    def _took(self, sms: OutgoingSMS) -> None:
        notification = self.model.notifications.get(sms.client_ref.rpartition("-")[0])
        if notification is not None:
            notification.calls[sms.client_ref] = True
        self.read.append(sms)


@contextmanager
def _rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class Fault:
    """Raises OperationalError at the query of this number."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.has_come = False

    def __call__(self, execute: Any, *arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self.has_come = True
            raise OperationalError("The database went away.")
        return execute(*arguments)


@contextmanager
def _fault(at: int) -> Iterator[Fault]:
    fault = Fault(at)
    with connection.execute_wrapper(fault):
        yield fault


def inbound_fields(message_id: str, msisdn: str, text: str, **more: str) -> dict[str, str]:
    """Return the unsigned fields of a customer's text; `more` adds fields, with `_` for `-`."""
    fields = {"messageId": message_id, "msisdn": msisdn, "to": VIRTUAL_NUMBER, "text": text}
    return fields | {name.replace("_", "-"): value for name, value in more.items()}
