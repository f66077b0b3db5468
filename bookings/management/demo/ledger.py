"""The rows of the demo, kept in the order in which things happened, and stored together at the end."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Model

from bookings.models import (
    BatchEntry,
    Booking,
    Consent,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    OutboundMessage,
    SendAttempt,
    SentPart,
    SlotChange,
    SlotOption,
    Spending,
    StaffAct,
    Ticket,
)
from bookings.models.message_states import MessageState, attempt_state, message_state

_AT_ONCE = 500


@dataclass(slots=True)
class Sent:
    """A text that was handed over once: its attempt, and what came of each part."""

    message: OutboundMessage
    attempt: SendAttempt
    parts: list[SentPart] = field(default_factory=list)
    receipts: list[DeliveryReceipt] = field(default_factory=list)


@dataclass(slots=True)
class Ledger:
    """Unsaved rows by table. Bookings, slots and notifications are saved already, and only changed."""

    options: list[SlotOption] = field(default_factory=list)
    inbound: list[InboundMessage] = field(default_factory=list)
    outbound: list[OutboundMessage] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    changes: list[SlotChange] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)
    consents: dict[str, Consent] = field(default_factory=dict)
    consent_changes: list[ConsentChange] = field(default_factory=list)
    entries: list[BatchEntry] = field(default_factory=list)
    acts: list[StaffAct] = field(default_factory=list)
    changed_bookings: dict[int, Booking] = field(default_factory=dict)
    #: Columns that name other rows by their id: set once those are stored.
    named_later: list[tuple[Model, str, Callable[[], str]]] = field(default_factory=list)

    def store(self) -> None:
        """Write every row. The caller is in a transaction."""
        for sent in self.sent:
            settle(sent)
        _create(self.options)
        _create(self.inbound)
        self._name(self.outbound)
        _create(self.outbound)
        _create([sent.attempt for sent in self.sent])
        _create([part for sent in self.sent for part in sent.parts])
        receipts = [receipt for sent in self.sent for receipt in sent.receipts]
        _create(sorted(receipts, key=lambda receipt: receipt.received_at))
        _create(self.changes)
        _change(list(self.changed_bookings.values()))
        _create(self.tickets)
        _create(list(self.consents.values()))
        _create(self.consent_changes)
        _create(self.entries)
        self._name(self.acts)
        _create(self.acts)
        self._add_up()

    def _name(self, rows: Iterable[Model]) -> None:
        named = {id(row) for row in rows}
        for row, column, name in self.named_later:
            if id(row) in named:
                setattr(row, column, name())

    def _add_up(self) -> None:
        """Count the cost of each day."""
        spent: dict[Any, Decimal] = {}
        for sent in self.sent:
            day = sent.attempt.spent_on
            spent[day] = spent.get(day, Decimal()) + sent.attempt.cost
        known = Spending.objects.in_bulk(spent, field_name="day")
        for day, amount in sorted(spent.items()):
            row = known.get(day) or Spending(day=day)
            row.amount += amount
            row.save()


def settle(sent: Sent) -> None:
    """Let attempt and message stand where their receipts say."""
    attempt, message = sent.attempt, sent.message
    attempt.state = attempt_state(
        attempt.verdict,
        [part.gateway_message_id for part in sent.parts],
        [(receipt.gateway_message_id, receipt.status) for receipt in sent.receipts],
    )
    message.state = message_state(MessageState.SENDING, [MessageState(attempt.state)])


def _create(rows: list[Any]) -> None:
    """Insert them in this order, so that ids follow the order of events."""
    if rows:
        type(rows[0])._default_manager.bulk_create(rows, batch_size=_AT_ONCE)  # noqa: SLF001


def _change(bookings: list[Booking]) -> None:
    columns = ["slot", "changed_at", "state", "cancelled_at", "cancelled_by"]
    if bookings:
        Booking.objects.bulk_update(bookings, columns, batch_size=_AT_ONCE)
