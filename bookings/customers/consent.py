"""Taking down a customer's wish about our texts, whoever heard it: one rule for a STOP and for a phone call."""

from typing import TYPE_CHECKING

from django.db import transaction

from bookings.customers import tickets
from bookings.models import ActKind, Consent, Kind, OutboundMessage, StaffAct, lock_customer
from bookings.models.outbound import DESPITE_OPT_OUT

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from bookings.models import InboundMessage

#: How the reason of a text that consent stopped begins.
OPTED_OUT = "the customer opted out"


def write(
    inbound: "InboundMessage", msisdn: str, *, is_opted_out: bool, user: "User | None" = None
) -> None:
    """By a text of the customer, whose locks are taken; `user` read it, where we could not."""
    _cancel_waiting(msisdn, is_opted_out=is_opted_out)
    Consent.objects.record(
        msisdn, is_opted_out=is_opted_out, words=inbound.said, inbound=inbound, user=user
    )
    if is_opted_out and user is None:
        tickets.overtake_by_opt_out(msisdn)


def record(user: "User", msisdn: str, words: str, *, is_opted_out: bool) -> bool:
    """By a member of staff to whom it was said. False if it was so already: then nothing is written.

    `msisdn` is E.164 digits. Once it returns, nothing that waited is handed over any more.
    """
    with transaction.atomic():
        lock_customer(msisdn)
        # First the texts, then the consent: a text of the customer takes them in this order too.
        _cancel_waiting(msisdn, is_opted_out=is_opted_out)
        if not Consent.objects.record(msisdn, is_opted_out=is_opted_out, words=words, user=user):
            return False
        if is_opted_out:
            tickets.overtake_by_opt_out(msisdn)
        wish = "no more texts" if is_opted_out else "texts again"
        StaffAct.objects.create(
            kind=ActKind.CONSENT, user=user, msisdn=msisdn, details=f"{wish}: {words}"
        )
        return True


def _cancel_waiting(msisdn: str, *, is_opted_out: bool) -> None:
    """What waits and may not be said any more."""
    waiting = OutboundMessage.objects.filter(msisdn=msisdn)
    if is_opted_out:
        waiting.exclude(kind__in=DESPITE_OPT_OUT).cancel(OPTED_OUT)
    else:
        waiting.filter(kind=Kind.OPT_OUT_CONFIRMATION).cancel("the customer opted in again")
