"""Every reply has the one effect that its outcome names, and at most one answer."""

from collections.abc import Iterator

from django.db.models import Case, Count, Exists, F, OuterRef, Q, Value, When

from bookings.models import (
    ChangeCause,
    Chose,
    Consent,
    ConsentChange,
    InboundMessage,
    Kind,
    NotificationState,
    OutboundMessage,
    Outcome,
    Place,
    SlotChange,
)
from bookings.models.inbound import CHOSEN
from bookings.models.keys import FORGOTTEN, NOBODY


def choices_say_what_was_chosen() -> Iterator[str]:
    choices = InboundMessage.objects.filter(outcome__in=CHOSEN)
    fits = Q(option__notification=F("notification"), notification__booking=F("booking"))
    # An inner join would lose those without an option.
    for inbound in choices.filter(Q(option=None) | ~fits).order_by("pk"):
        yield (
            f"I1 inbound message {inbound.pk}: {inbound.outcome}, but booking, notification and"
            " option do not belong together"
        )


def what_was_chosen_is_what_its_option_meant() -> Iterator[str]:
    meaning = Case(
        When(option=None, then=Value("")),
        When(option__slot=F("option__notification__slot"), then=Value(Chose.KEPT)),
        When(option__slot__place=Place.POST_OFFICE, then=Value(Chose.POST_OFFICE)),
        default=Value(Chose.ANOTHER_DAY),
    )
    wrong = InboundMessage.objects.annotate(meaning=meaning).exclude(chose=F("meaning"))
    for inbound, chose, means in wrong.order_by("pk").values_list("pk", "chose", "meaning"):
        yield f"I1 inbound message {inbound}: it chose {chose!r}, its option means {means!r}"


def moves_by_reply_moved() -> Iterator[str]:
    by_reply = SlotChange.objects.filter(cause=ChangeCause.REPLY).order_by("pk")
    moved = InboundMessage.objects.filter(outcome=Outcome.MOVED).order_by("pk")
    idle = moved.exclude(Exists(by_reply.filter(inbound=OuterRef("pk"))))
    for inbound in idle.values_list("pk", flat=True):
        yield f"I1 inbound message {inbound}: it moved no booking"
    asked = {"booking": F("inbound__booking"), "to_slot": F("inbound__option__slot")}
    for inbound in by_reply.exclude(**asked).values_list("inbound", flat=True):
        yield f"I1 inbound message {inbound}: it moved a booking to a slot that it did not choose"
    for change in by_reply.exclude(inbound__outcome=Outcome.MOVED):
        yield f"I1 slot change {change.pk}: by inbound message {change.inbound_id}, which moved nothing"


def long_texts_are_read_once() -> Iterator[str]:
    """The part that completed a long text has its effect. The other parts point to it and have none."""
    parts = InboundMessage.objects.filter(part_total__gt=0).order_by("pk")
    pieces = parts.filter(joined_in__isnull=False)
    same = {key: F(f"joined_in__{key}") for key in ("virtual_number", "part_ref", "part_total")}
    faults = {
        "a piece of a long text, with an effect of its own": pieces.exclude(outcome=Outcome.PART),
        "a piece of a long text that never became whole": pieces.filter(joined_in__whole="")
        .exclude(joined_in__text="")  # it was forgotten
        .exclude(joined_in__type="binary"),
        "a piece of another text": pieces.exclude(**same),
        "a part that was answered": parts.filter(
            outcome=Outcome.PART, answers__isnull=False, answers__user=None
        ),
        "a long text that was completed, and not read": parts.filter(outcome=Outcome.PART).exclude(
            whole=""
        ),
    }
    for fault, found in faults.items():
        for inbound in found.values_list("pk", flat=True):
            yield f"I1 inbound message {inbound}: {fault}"
    others = Count(
        "pieces__part_number",
        distinct=True,
        filter=~Q(pieces__part_number=F("part_number")),
    )
    whole = parts.exclude(whole="").annotate(others=others)
    for inbound in whole.exclude(others=F("part_total") - 1).values_list("pk", flat=True):
        yield f"I1 inbound message {inbound}: a long text that was read without all its parts"


def replies_are_answered_once() -> Iterator[str]:
    answers = OutboundMessage.objects.filter(in_reply_to__isnull=False, user=None)
    several = answers.values("in_reply_to").annotate(count=Count("pk")).filter(count__gt=1)
    for inbound in several.order_by("in_reply_to").values_list("in_reply_to", flat=True):
        yield f"I3 inbound message {inbound}: it has more than one answer"


def moves_are_acknowledged() -> Iterator[str]:
    """Whoever has ever opted out is left aside: they may have been out at that moment. So is who was forgotten."""
    out = ConsentChange.objects.filter(is_opted_out=True, msisdn=OuterRef("notification__msisdn"))
    moved = InboundMessage.objects.filter(outcome=Outcome.MOVED)
    silent = moved.filter(answers=None).exclude(notification__msisdn__startswith=NOBODY)
    for inbound in silent.exclude(Exists(out)).order_by("pk"):
        yield f"I3 inbound message {inbound.pk}: it moved a booking, and nobody told the customer"


def acknowledgements_name_the_new_slot() -> Iterator[str]:
    told = SlotChange.objects.filter(
        cause=ChangeCause.REPLY, inbound__answers__kind=Kind.ACKNOWLEDGEMENT
    )
    told = told.exclude(inbound__answers__text=FORGOTTEN).order_by("pk")
    columns = ("inbound", "inbound__answers__text", "to_slot__date", "to_slot__window_start")
    for inbound, text, date, start in told.values_list(*columns).iterator(chunk_size=2000):
        if str(date.day) not in text or f"{start:%H:%M}" not in text:
            yield f"I3 inbound message {inbound}: its acknowledgement names another day or time"


def waiting_texts_are_true() -> Iterator[str]:
    """A change of a booking cancels its queued texts. Dispatch's own text tells the change."""
    queued = OutboundMessage.objects.queued().order_by("pk")
    moved = SlotChange.objects.filter(
        booking=OuterRef("booking"), created_at__gt=OuterRef("queued_at")
    )
    newer = OutboundMessage.objects.queued().filter(
        kind=Kind.ACKNOWLEDGEMENT,
        booking=OuterRef("booking"),
        in_reply_to__isnull=False,
        pk__gt=OuterRef("pk"),
    )
    faults = {
        "its booking was moved since": ~Q(kind=Kind.TOLD) & Exists(moved),
        "its notification is not open": Q(kind=Kind.NOTIFICATION)
        & ~Q(notification__state=NotificationState.OPEN),
        "a newer answer waits": Q(in_reply_to__isnull=False) & Exists(newer),
    }
    for fault, condition in faults.items():
        for message in queued.filter(condition):
            yield f"I3 outbound message {message.pk} waits to be sent: {fault}"


def consent_is_what_was_said_last() -> Iterator[str]:
    later = ConsentChange.objects.filter(msisdn=OuterRef("msisdn"), pk__gt=OuterRef("pk"))
    last = ConsentChange.objects.exclude(Exists(later))
    agrees = Consent.objects.filter(
        msisdn=OuterRef("msisdn"), is_opted_out=OuterRef("is_opted_out")
    )
    for change in last.exclude(Exists(agrees)).order_by("pk"):
        yield f"I8 consent change {change.pk}: it is the last of its number, and does not hold"


CHECKS = (
    choices_say_what_was_chosen,
    what_was_chosen_is_what_its_option_meant,
    moves_by_reply_moved,
    long_texts_are_read_once,
    replies_are_answered_once,
    moves_are_acknowledged,
    acknowledgements_name_the_new_slot,
    waiting_texts_are_true,
    consent_is_what_was_said_last,
)
