"""Invariants of long texts: a text in parts has one effect, that of the part that completed it."""

import pytest

from bookings.models import InboundMessage, Kind, MessageState, Outcome, SlotChange
from bookings.models.keys import NOBODY
from bookings.notifications.asking import notify
from bookings.operations.invariants import find_contradictions
from tests.factories import (
    BookingFactory,
    InboundMessageFactory,
    OutboundMessageFactory,
    TicketFactory,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def contradictions():
    return list(find_contradictions())


def part(number, **fields):
    values = {
        "msisdn": "447700900123",
        "part_ref": "7",
        "part_number": number,
        "part_total": 3,
        "outcome": Outcome.PART,
        "text": f"piece {number} ",
    } | fields
    return InboundMessageFactory.create(**values)


@pytest.fixture
def whole():
    """Create a text of three parts, of which the second came last, with copies of parts under other ids."""
    last = part(2, outcome=Outcome.NOT_UNDERSTOOD, whole="piece 1 piece 2 piece 3 ")
    for number in (1, 3, 3, 2):
        part(number, joined_in=last)
    return last


def test_a_long_reply_in_parts_contradicts_nothing(drain, reply):
    booking = BookingFactory.create()
    notify(booking)
    drain()
    for number, text in [(2, "2"), (1, "option "), (1, "option "), (2, "2")]:
        concat = {"concat-ref": "7", "concat-total": "2", "concat-part": str(number)}
        reply(booking.msisdn, text, concat="true", **concat)
    drain()
    assert SlotChange.objects.count() == 1
    assert InboundMessage.objects.filter(joined_in__isnull=False).count() == 3
    assert contradictions() == []


def test_a_long_text_that_was_read_once_contradicts_nothing(whole):
    lacking = part(1, part_ref="8", is_incomplete=True)
    TicketFactory.create(inbound=lacking)
    OutboundMessageFactory.create(
        booking=None, kind=Kind.HELP, in_reply_to=whole, state=MessageState.CANCELLED
    )
    assert contradictions() == []


def test_a_long_text_that_was_forgotten_contradicts_nothing(whole):
    InboundMessage.objects.update(text="", whole="", msisdn=f"{NOBODY}000000000001")
    assert contradictions() == []


def an_effect_of_its_own(whole, piece):
    piece.outcome = Outcome.HELP
    piece.save()
    return f"I1 inbound message {piece.pk}: a piece of a long text, with an effect of its own"


def a_text_that_never_became_whole(whole, piece):
    other = part(1, part_ref="7", is_incomplete=True)
    piece.joined_in = other
    piece.save()
    return f"I1 inbound message {piece.pk}: a piece of a long text that never became whole"


def a_piece_of_another_text(whole, piece):
    piece.part_ref = "9"
    piece.save()
    return f"I1 inbound message {piece.pk}: a piece of another text"


def a_part_that_was_answered(whole, piece):
    OutboundMessageFactory.create(
        booking=None, kind=Kind.HELP, in_reply_to=piece, state=MessageState.CANCELLED
    )
    return f"I1 inbound message {piece.pk}: a part that was answered"


def a_text_that_was_not_read(whole, piece):
    whole.outcome = Outcome.PART
    whole.save()
    return f"I1 inbound message {whole.pk}: a long text that was completed, and not read"


def a_text_that_lacks_a_part(whole, piece):
    piece.delete()
    return f"I1 inbound message {whole.pk}: a long text that was read without all its parts"


@pytest.mark.parametrize(
    "seed",
    [
        an_effect_of_its_own,
        a_text_that_never_became_whole,
        a_piece_of_another_text,
        a_part_that_was_answered,
        a_text_that_was_not_read,
        a_text_that_lacks_a_part,
    ],
)
def test_a_long_text_that_contradicts_itself_is_found(seed, whole):
    piece = InboundMessage.objects.get(part_number=1)
    line = seed(whole, piece)
    assert line in contradictions()
