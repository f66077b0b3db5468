"""Changes of a number's consent to our texts: by the customer's text, by staff after a phone call, by a receipt."""

from typing import TYPE_CHECKING

from django.db import transaction

from bookings.customers import tickets
from bookings.models import (
    ActKind,
    Consent,
    ConsentChange,
    DeliveryReceipt,
    InboundMessage,
    Kind,
    OutboundMessage,
    StaffAct,
    lock_customer,
)
from bookings.models.outbound import DESPITE_OPT_OUT

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: The reason of a text that was cancelled because the customer opted out.
OPTED_OUT = "the customer opted out"


def change(
    msisdn: str,
    *,
    is_opted_out: bool,
    words: str,
    inbound: InboundMessage | None = None,
    receipt: DeliveryReceipt | None = None,
    user: "User | None" = None,
) -> bool:
    """Set a number's consent and record by which words or by whom. Return False if it was so already.

    `msisdn` is E.164 digits. The consent's row stays locked until the transaction ends.
    """
    consent, _ = Consent.objects.select_for_update().get_or_create(msisdn=msisdn)
    if consent.is_opted_out == is_opted_out:
        return False
    consent.is_opted_out = is_opted_out
    consent.save(update_fields=["is_opted_out"])
    ConsentChange.objects.create(
        msisdn=msisdn,
        is_opted_out=is_opted_out,
        words=words[:200],
        inbound=inbound,
        receipt=receipt,
        user=user,
    )
    return True


def change_by_text(
    inbound: InboundMessage, msisdn: str, *, is_opted_out: bool, user: "User | None" = None
) -> None:
    """Change consent by a text of the customer. `user` is the member of staff who read it, if our software could not.

    The caller holds the customer's locks.
    """
    _cancel_waiting(msisdn, is_opted_out=is_opted_out)
    change(msisdn, is_opted_out=is_opted_out, words=inbound.said, inbound=inbound, user=user)
    if is_opted_out and user is None:
        tickets.close_by_opt_out(msisdn)


def change_by_staff(user: "User", msisdn: str, words: str, *, is_opted_out: bool) -> bool:
    """Change consent as the customer told a member of staff. Return False, and write nothing, if it was so already.

    `msisdn` is E.164 digits. After the return no text that waited is handed over.
    """
    with transaction.atomic():
        lock_customer(msisdn)
        # First the texts, then the consent: a text of the customer takes the locks in this order too.
        _cancel_waiting(msisdn, is_opted_out=is_opted_out)
        if not change(msisdn, is_opted_out=is_opted_out, words=words, user=user):
            return False
        if is_opted_out:
            tickets.close_by_opt_out(msisdn)
        wish = "no more texts" if is_opted_out else "texts again"
        StaffAct.objects.create(
            kind=ActKind.CONSENT, user=user, msisdn=msisdn, details=f"{wish}: {words}"
        )
        return True


def _cancel_waiting(msisdn: str, *, is_opted_out: bool) -> None:
    """Cancel the waiting texts that may not be said after the change."""
    waiting = OutboundMessage.objects.filter(msisdn=msisdn)
    if is_opted_out:
        waiting.exclude(kind__in=DESPITE_OPT_OUT).cancel(OPTED_OUT, by_opt_out=True)
    else:
        waiting.filter(kind=Kind.OPT_OUT_CONFIRMATION).cancel("the customer opted in again")
