"""The tables, by subject."""

from bookings.models.acts import ActKind, StaffAct
from bookings.models.attempts import DeliveryReceipt, SendAttempt, SentPart
from bookings.models.batches import Batch, BatchEntry, BatchState
from bookings.models.consent import Consent, ConsentChange
from bookings.models.inbound import InboundMessage, Outcome
from bookings.models.manifests import Manifest, ManifestState
from bookings.models.message_states import MessageState
from bookings.models.notifications import (
    Chose,
    Notification,
    NotificationState,
    SlotOption,
    lock_customer,
)
from bookings.models.outbound import Kind, OutboundMessage
from bookings.models.schedule import Booking, BookingState, Place, Slot
from bookings.models.sending import Circuit, Pace, Sender, SimulatedPhone, Spending
from bookings.models.slot_changes import ChangeCause, SlotChange, move_booking
from bookings.models.tickets import Settlement, Ticket, TicketKind
from bookings.models.weekly_pattern import ClosedDay, WeeklySlot

__all__ = [
    "ActKind",
    "Batch",
    "BatchEntry",
    "BatchState",
    "Booking",
    "BookingState",
    "ChangeCause",
    "Chose",
    "Circuit",
    "ClosedDay",
    "Consent",
    "ConsentChange",
    "DeliveryReceipt",
    "InboundMessage",
    "Kind",
    "Manifest",
    "ManifestState",
    "MessageState",
    "Notification",
    "NotificationState",
    "OutboundMessage",
    "Outcome",
    "Pace",
    "Place",
    "SendAttempt",
    "Sender",
    "SentPart",
    "Settlement",
    "SimulatedPhone",
    "Slot",
    "SlotChange",
    "SlotOption",
    "Spending",
    "StaffAct",
    "Ticket",
    "TicketKind",
    "WeeklySlot",
    "lock_customer",
    "move_booking",
]
