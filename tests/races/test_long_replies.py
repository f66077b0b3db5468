"""The last parts of a long reply arrive at the same instant."""

import pytest
from django.conf import settings as django_settings

from bookings.gateways.signature import sign
from bookings.models import Booking, InboundMessage, OutboundMessage, Outcome
from tests.factories import STRANGER, NotificationFactory
from tests.races.conftest import signed

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = range(5)


def part(msisdn: str, number: int, text: str, total: int) -> dict[str, str]:
    fields = signed(msisdn, text) | {
        "concat": "true",
        "concat-ref": "7",
        "concat-part": str(number),
        "concat-total": str(total),
    }
    del fields["sig"]
    return fields | {"sig": sign(fields, django_settings.VONAGE_SIGNATURE_SECRETS[0], "sha256")}


@pytest.mark.parametrize("round_", ROUNDS)
def test_all_parts_at_once_are_read_as_one_once(at_once, round_):
    asked = NotificationFactory.create()
    words = {1: "option", 2: " 2", 3: " please"}
    assert at_once([part(asked.msisdn, *piece, total=3) for piece in words.items()]) == [200] * 3
    last = InboundMessage.objects.get(outcome=Outcome.MOVED)
    assert last.whole == "option 2 please"
    assert InboundMessage.objects.filter(outcome=Outcome.PART, joined_in=last).count() == 2
    assert Booking.objects.get().slot_changes.count() == 1
    assert OutboundMessage.objects.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_the_last_part_three_times_at_once_under_other_ids_counts_once(at_once, round_):
    asked = NotificationFactory.create()
    at_once([part(asked.msisdn, 1, "option ", total=2)])
    last = [part(asked.msisdn, 2, "2", total=2) for _ in range(3)]
    assert at_once(last) == [200] * 3
    moved = InboundMessage.objects.get(outcome=Outcome.MOVED)
    assert InboundMessage.objects.filter(outcome=Outcome.PART, joined_in=moved).count() == 3
    assert OutboundMessage.objects.count() == 1


@pytest.mark.parametrize("round_", ROUNDS)
def test_parts_of_an_unknown_number_are_joined_once_and_not_answered(at_once, round_):
    at_once([part(STRANGER, 1, "hel", total=2)])
    last = [part(STRANGER, 2, "p", total=2) for _ in range(3)]
    assert at_once(last) == [200] * 3
    assert InboundMessage.objects.filter(outcome=Outcome.UNKNOWN_SENDER).count() == 1
    assert not OutboundMessage.objects.exists()
