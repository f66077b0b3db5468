"""Spreadsheets that staff hand in: kept from the preview until their last row is in."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from bookings.models.fields import is_one_of
from bookings.models.schedule import Booking


class ManifestState(models.TextChoices):
    PREVIEWED = "previewed", "previewed"
    RUNNING = "running", "importing"
    DONE = "done", "imported"


class Manifest(models.Model):
    """One file of bookings, what its rows would change or did change, and how far its import has come."""

    name = models.CharField(max_length=120)
    content = models.BinaryField()
    state = models.CharField(max_length=16, choices=ManifestState, default=ManifestState.PREVIEWED)
    row_count = models.PositiveIntegerField(default=0)
    rows_done = models.PositiveIntegerField(default=0)
    counts = models.JSONField(
        default=dict, blank=True, help_text="How many rows were new, changed, unchanged, rejected."
    )
    refusals = models.JSONField(
        default=list, blank=True, help_text="Line and reason of each rejected row."
    )
    bookings = models.ManyToManyField(Booking, blank=True, related_name="manifests")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [is_one_of("state", ManifestState, name="manifest_state_is_known")]

    def __str__(self) -> str:
        return self.name
