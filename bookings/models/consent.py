"""Who may be texted: the state of each number, and every change of it."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.utils import timezone

from bookings.models.fields import MsisdnField, mask_msisdn, msisdn_is_e164

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from bookings.models.attempts import DeliveryReceipt
    from bookings.models.inbound import InboundMessage


class ConsentQuerySet(models.QuerySet["Consent"]):
    def opted_out(self) -> "ConsentQuerySet":
        return self.filter(is_opted_out=True)

    def is_opted_out(self, msisdn: str) -> bool:
        return self.opted_out().filter(msisdn=msisdn).exists()

    def record(
        self,
        msisdn: str,
        *,
        is_opted_out: bool,
        words: str,
        inbound: "InboundMessage | None" = None,
        receipt: "DeliveryReceipt | None" = None,
        user: "User | None" = None,
    ) -> bool:
        """Set a number's consent and write down by which words or by whom. False if it was so already."""
        consent, _ = self.select_for_update().get_or_create(msisdn=msisdn)
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


class Consent(models.Model):
    """Whether a number has opted out of the company's texts. No row: it has not."""

    msisdn = MsisdnField(unique=True)
    is_opted_out = models.BooleanField(default=False)

    objects = ConsentQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "consent"
        constraints = [msisdn_is_e164("consent_msisdn_is_e164")]

    def __str__(self) -> str:
        return (
            f"{mask_msisdn(self.msisdn)}: {'opted out' if self.is_opted_out else 'may be texted'}"
        )


class ConsentChange(models.Model):
    """One change of consent. Never changed, never deleted."""

    msisdn = MsisdnField(db_index=True)
    is_opted_out = models.BooleanField()
    words = models.CharField(max_length=200, help_text="The customer's words, or the receipt's.")
    inbound = models.ForeignKey(
        "InboundMessage", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    receipt = models.ForeignKey(
        "DeliveryReceipt", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-pk"]
        constraints = [msisdn_is_e164("consent_change_msisdn_is_e164")]

    def __str__(self) -> str:
        return f"{mask_msisdn(self.msisdn)} {'out' if self.is_opted_out else 'in'}"
