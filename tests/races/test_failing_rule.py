"""A reply on which our rule fails has lost its locks when it is kept, and is committed all the same."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from bookings.models import InboundMessage, Outcome, lock_customer
from bookings.replies import effects
from tests.factories import InboundMessageFactory, NotificationFactory
from tests.races.conftest import signed

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = range(5)


@pytest.fixture
def _fails_on_three(monkeypatch):
    say = effects._say

    def fail(what, inbound):
        if inbound.text == "3":
            raise ValueError("a bug")
        say(what, inbound)

    monkeypatch.setattr(effects, "_say", fail)


@pytest.mark.usefixtures("_fails_on_three")
@pytest.mark.parametrize("round_", ROUNDS)
def test_replies_with_and_without_a_bug_at_once_are_all_kept(at_once, round_):
    msisdn = NotificationFactory.create().msisdn
    assert at_once([signed(msisdn, text) for text in ("2", "3") * 4]) == [200] * 8
    assert InboundMessage.objects.filter(outcome=Outcome.ERROR).count() == 4


def test_a_reply_is_committed_while_somebody_else_holds_the_customer():
    """PostgreSQL checks foreign keys at the commit, with locks of their own: who waits there, while the other waits for
    the booking, is in a deadlock.
    """
    if connection.vendor == "sqlite":
        pytest.skip("SQLite lets one transaction write at a time.")
    notification = NotificationFactory.create()

    def keep() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = 500")
            InboundMessageFactory.create(notification=notification, outcome=Outcome.ERROR)
        connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as thread:
        lock_customer(notification.msisdn)
        thread.submit(keep).result()
    assert InboundMessage.objects.count() == 1
