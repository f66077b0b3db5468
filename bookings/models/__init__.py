"""The tables, by subject."""

from bookings.models.acts import ActKind, StaffAct
from bookings.models.attempts import DeliveryReceipt, SendAttempt, SentPart
from bookings.models.consent import Consent, ConsentChange
from bookings.models.messages import InboundMessage, Kind, OutboundMessage, Outcome
from bookings.models.notifications import Notification, NotificationState, SlotOption, lock_customer
from bookings.models.schedule import Booking, BookingState, ChangeCause, Place, Slot, SlotChange
from bookings.models.sending import Circuit, Pace, Sender, SimulatedPhone, Spending
from bookings.models.standing import MessageState

__all__ = [
    "ActKind",
    "Booking",
    "BookingState",
    "ChangeCause",
    "Circuit",
    "Consent",
    "ConsentChange",
    "DeliveryReceipt",
    "InboundMessage",
    "Kind",
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
    "SimulatedPhone",
    "Slot",
    "SlotChange",
    "SlotOption",
    "Spending",
    "StaffAct",
    "lock_customer",
]
