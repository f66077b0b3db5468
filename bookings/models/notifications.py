"""The notification put to a customer about one booking, and the numbered options it offers."""

import datetime as dt

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Q
from django.utils import timezone

from bookings.models.fields import MsisdnField, is_one_of, msisdn_is_e164
from bookings.models.schedule import Booking, Place, Slot


class NotificationState(models.TextChoices):
    OPEN = "open", "open"
    CLOSED = "closed", "closed"  # its time was over
    WITHDRAWN = "withdrawn", "withdrawn"  # moved, cancelled, phone changed, or asked again


class NotificationQuerySet(models.QuerySet["Notification"]):
    def open(self) -> "NotificationQuerySet":
        """Not closed or withdrawn by anyone. Its time may be over all the same: see `is_open_at`."""
        return self.filter(state=NotificationState.OPEN)

    def past(self, moment: dt.datetime) -> "NotificationQuerySet":
        return self.open().filter(closes_at__lte=moment)

    def locked(self) -> "NotificationQuerySet":
        # The key stays as it is: rows that refer to a notification may be committed while somebody else holds it.
        return self.order_by("pk").select_for_update(of=("self",), no_key=True)


class Notification(models.Model):
    """One notification to one customer about one booking, with up to three numbered options.

    It stays open until `closes_at`, or until it is withdrawn: an answer does not close it.
    Without options it is a plain notice: all digits were taken.
    """

    booking = models.ForeignKey(Booking, on_delete=models.PROTECT, related_name="notifications")
    msisdn = MsisdnField("asked at")
    virtual_number = models.CharField("asked from", max_length=15)
    slot = models.ForeignKey(
        Slot,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Slot of the booking when the notification was sent.",
    )
    state = models.CharField(
        max_length=16, choices=NotificationState, default=NotificationState.OPEN
    )
    closes_at = models.DateTimeField(help_text="Replies from this moment on are late.")
    handed_over_at = models.DateTimeField(null=True, blank=True, help_text="When sending started.")
    remind_at = models.DateTimeField(
        null=True, blank=True, help_text="When a customer who has not replied is reminded, once."
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    withdrawn_because = models.CharField(max_length=200, blank=True)
    has_chosen_options = models.BooleanField(default=False, help_text="Options chosen by staff.")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["msisdn", "-handed_over_at"], name="notification_by_customer"),
            models.Index(
                fields=["closes_at"],
                name="notification_open_until",
                condition=Q(state=NotificationState.OPEN),
            ),
            models.Index(
                fields=["remind_at"],
                name="notification_reminders",
                condition=Q(state=NotificationState.OPEN, remind_at__isnull=False),
            ),
        ]
        constraints = [
            msisdn_is_e164("notification_msisdn_is_e164"),
            is_one_of("state", NotificationState, name="notification_state_is_known"),
            models.UniqueConstraint(
                fields=["booking"],
                name="one_open_notification_per_booking",
                condition=Q(state=NotificationState.OPEN),
            ),
            models.CheckConstraint(
                name="notification_closed_has_moment",
                condition=Q(state=NotificationState.OPEN, closed_at__isnull=True)
                | (~Q(state=NotificationState.OPEN) & Q(closed_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"notification about {self.booking}"

    def is_open_at(self, moment: dt.datetime) -> bool:
        return self.state == NotificationState.OPEN and moment < self.closes_at

    def hand_over(self, moment: dt.datetime) -> None:
        """Its text begins to be handed over. Whoever is to be reminded is reminded half-way to the close."""
        self.handed_over_at = moment
        if self.remind_at is not None:
            self.remind_at = moment + (self.closes_at - moment) / 2
        self.save(update_fields=["handed_over_at", "remind_at"])

    def end(self, state: NotificationState, moment: dt.datetime, because: str = "") -> None:
        """Close or withdraw it. Digits that never left us are free at once, the others rest."""
        self.state, self.closed_at, self.withdrawn_because = (
            state,
            min(moment, self.closes_at),
            because,
        )
        self.save(update_fields=["state", "closed_at", "withdrawn_because"])
        if self.handed_over_at is None:
            self.options.update(is_held=False)


class Chose(models.TextChoices):
    """What a customer's choice comes to."""

    KEPT = "kept", "keep"
    ANOTHER_DAY = "another", "another day"
    POST_OFFICE = "post_office", "post office"


class SlotOption(models.Model):
    """A digit, the words printed for it, and the slot it stands for. Fixed once the text is handed over."""

    notification = models.ForeignKey(Notification, on_delete=models.PROTECT, related_name="options")
    msisdn = MsisdnField()
    digit = models.PositiveSmallIntegerField()
    words = models.CharField(max_length=80)
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="+")
    is_held = models.BooleanField(
        default=True,
        help_text="The digit is in use for this customer: the notification is open, or its digits still rest.",
    )

    class Meta:
        ordering = ["notification", "digit"]
        indexes = [models.Index(fields=["msisdn", "-id"], name="slot_option_by_customer")]
        constraints = [
            msisdn_is_e164("slot_option_msisdn_is_e164"),
            models.CheckConstraint(
                name="slot_option_digit_1_to_9", condition=Q(digit__gte=1, digit__lte=9)
            ),
            models.UniqueConstraint(
                fields=["notification", "digit"], name="slot_option_digit_once"
            ),
            models.UniqueConstraint(
                fields=["msisdn", "digit"], name="one_meaning_per_digit", condition=Q(is_held=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.digit} ({self.words})"

    @property
    def meaning(self) -> Chose:
        """What choosing it comes to, seen from where the booking was when the customer was asked."""
        if self.slot_id == self.notification.slot_id:
            return Chose.KEPT
        return Chose.POST_OFFICE if self.slot.place == Place.POST_OFFICE else Chose.ANOTHER_DAY


def lock_customer(*msisdns: str) -> None:
    """Lock all that a word from or about these customers can touch: open notifications, then bookings.

    Everyone takes these locks first and in this order, and slots after them. A notification that was made while we
    waited for its booking is not locked yet: then everything is let go and taken anew.
    """
    if not connection.features.has_select_for_update:
        return  # SQLite: whoever is in a transaction has locked everything (BEGIN IMMEDIATE)
    while True:
        waypoint = transaction.savepoint()
        locked = set(
            Notification.objects.open()
            .filter(msisdn__in=msisdns)
            .locked()
            .values_list("pk", flat=True)
        )
        bookings = Booking.objects.filter(msisdn__in=msisdns).order_by("pk")
        list(bookings.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))
        if locked >= set(
            Notification.objects.open().filter(msisdn__in=msisdns).values_list("pk", flat=True)
        ):
            transaction.savepoint_commit(waypoint)
            return
        transaction.savepoint_rollback(waypoint)
