"""Two dispatchers act for the same customer at once: one succeeds, the other is told."""

import pytest

from bookings.dispatch import ticket_actions
from bookings.dispatch.ticket_actions import CannotAct
from bookings.models import OutboundMessage, SlotChange, StaffAct, Ticket
from tests.factories import NotificationFactory, TicketFactory, UserFactory
from tests.races.simultaneous import at_once

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = range(5)


@pytest.fixture
def asked():
    return NotificationFactory.create()


@pytest.fixture
def tickets(asked):
    """Create two open tickets of one number."""
    return TicketFactory.create_batch(2, inbound__notification=asked)


def fresh(ticket):
    return Ticket.objects.select_related("booking").get(pk=ticket.pk)


@pytest.mark.parametrize("round_", ROUNDS)
def test_one_customer_gets_one_answer(round_, tickets):
    def answer(ticket, user, nonce):
        return lambda: ticket_actions.answer_by_text(
            fresh(ticket), "Hello", user, nonce=nonce, seen=ticket.pk
        )

    users = UserFactory.create_batch(4)
    acts = [answer(tickets[n % 2], user, f"nonce-{n}") for n, user in enumerate(users)]
    said = at_once(*acts)
    sent = [each for each in said if isinstance(each, OutboundMessage)]
    refused = [each for each in said if isinstance(each, CannotAct)]
    assert (len(sent), len(refused)) == (1, 3), said
    assert OutboundMessage.objects.count() == StaffAct.objects.count() == 1
    name = str(sent[0].user)
    assert all(name in str(refusal) for refusal in refused)


@pytest.mark.parametrize("round_", ROUNDS)
def test_a_double_click_sends_one_answer(round_, tickets):
    user = UserFactory.create()

    def click():
        return ticket_actions.answer_by_text(fresh(tickets[0]), "Hello", user, nonce="same")

    said = at_once(*[click] * 4)
    assert sum(each is None for each in said) == 3, said
    assert OutboundMessage.objects.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_one_of_two_dispatchers_chooses_for_a_customer(round_, tickets, asked):
    options = {option.digit: option for option in asked.options.select_related("slot")}
    users = UserFactory.create_batch(2)
    said = at_once(
        *[
            lambda user=user, digit=digit: ticket_actions.choose_option(
                fresh(tickets[0]), options[digit], user
            )
            for user, digit in zip(users, (2, 3), strict=True)
        ]
    )
    assert sorted(type(each).__name__ for each in said) == ["CannotAct", "bool"], said
    assert SlotChange.objects.count() == OutboundMessage.objects.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_unknown_number_gets_one_answer(round_):
    ticket = TicketFactory.create()
    users = UserFactory.create_batch(3)
    said = at_once(
        *[
            lambda user=user: ticket_actions.answer_by_text(
                fresh(ticket), "Hello", user, nonce=f"n-{user.pk}"
            )
            for user in users
        ]
    )
    assert sum(isinstance(each, CannotAct) for each in said) == 2, said
    assert OutboundMessage.objects.count() == 1
