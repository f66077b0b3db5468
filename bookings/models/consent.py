"""The consent of each number to our texts, and every change of it."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from bookings.models.fields import MsisdnField, mask_msisdn, msisdn_is_e164


class ConsentQuerySet(models.QuerySet["Consent"]):
    def opted_out(self) -> "ConsentQuerySet":
        """Select the numbers that have opted out."""
        return self.filter(is_opted_out=True)

    def is_opted_out(self, msisdn: str) -> bool:
        """Return True if a number (E.164 digits) has opted out."""
        return self.opted_out().filter(msisdn=msisdn).exists()


class Consent(models.Model):
    """The state of a number: opted out of the company's texts, or not. Without a row it has not."""

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
    """One change of consent. A row is never changed and never deleted."""

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
