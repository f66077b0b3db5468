"""Moving or cancelling many deliveries at once, as when a van breaks down: the page that asks, and doing it."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils import timezone

from bookings.admin.shared.columns import show_day
from bookings.admin.shared.guard import is_key
from bookings.admin.shared.pages import OwnPages
from bookings.admin.shared.row_versions import seen_word, seen_words
from bookings.dispatch import bookings as dispatch
from bookings.dispatch import notices
from bookings.dispatch.bookings import CannotBook
from bookings.dispatch.notices import CannotTell, Method, News
from bookings.language import messages as texts
from bookings.models import Booking, ClosedDay, Slot
from bookings.notifications.asking import lock_booking
from bookings.outbox.recipients import find_why_not_texted_each
from bookings.reporting.timeline import visible
from bookings.scheduling.capacity import HAS_ROOM, with_booked

#: How many bookings one page changes.
MOST_AT_ONCE = 200
#: Slots that can be chosen: of today and so many days to come.
_DAYS, _MOST_SLOTS = 14, 500
#: Sentences that are shown one by one.
_MOST_SENTENCES = 40


@dataclass(slots=True)
class Done:
    """What came of it, each with a sentence for those that are named."""

    count: int = 0
    refused: list[str] = field(default_factory=list)
    not_told: list[str] = field(default_factory=list)


class MovingMixin(OwnPages):
    """Two actions on the list of bookings, and the page on which each is confirmed."""

    def get_urls(self) -> list[URLPattern]:
        return [
            self.own_path("move/", self.move_view, "move"),
            self.own_path("cancel/", self.cancel_view, "cancel"),
            *super().get_urls(),
        ]

    @admin.action(description="Move to another slot …", permissions=["change"])
    def move_bookings(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._ask(request, queryset, is_move=True)

    @admin.action(description="Cancel …", permissions=["change"])
    def cancel_bookings(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._ask(request, queryset, is_move=False)

    def move_view(self, request: HttpRequest) -> HttpResponse:
        return self._carry_out(request, is_move=True)

    def cancel_view(self, request: HttpRequest) -> HttpResponse:
        return self._carry_out(request, is_move=False)

    def _ask(
        self, request: HttpRequest, queryset: QuerySet[Any], *, is_move: bool
    ) -> HttpResponse | None:
        count = queryset.count()
        if count > MOST_AT_ONCE:
            sentence = f"Nothing was changed: {count} bookings are selected, at most {MOST_AT_ONCE} can be changed."
            self.message_user(request, sentence, messages.WARNING)
            return None
        keys = list(queryset.order_by().values_list("pk", flat=True))
        return self._page(request, keys, is_move=is_move)

    def _page(
        self, request: HttpRequest, keys: list[int], *, is_move: bool, missing: str = ""
    ) -> HttpResponse:
        chosen = Booking.objects.select_related("slot").filter(pk__in=keys)
        bookings = list(chosen.order_by("slot__date", "slot__window_start", "reference"))
        open_ones = [booking for booking in bookings if booking.is_scheduled]
        reasons = find_why_not_texted_each({each.pk: each.msisdn for each in open_ones})
        seen = seen_words(open_ones)
        ways = [way for way in notices.methods_for(request.user) if is_move or way != Method.ASK]
        usual = Method.SMS if Method.SMS in ways else Method.NOBODY
        return self.own_page(
            request,
            "booking/move.html",
            "Move to another slot" if is_move else "Cancel deliveries",
            is_move=is_move,
            missing=missing,
            lines=[
                (booking, _sms(booking, is_move=is_move), reasons[booking.pk], seen[booking.pk])
                for booking in open_ones
            ],
            left_out=len(bookings) - len(open_ones),
            without_sms=sum(bool(reason) for reason in reasons.values()),
            choices=_choices(open_ones) if is_move else [],
            ways=[(way.value, way.label) for way in ways],
            way=request.POST.get("told") or usual.value,
            slot=request.POST.get("slot", ""),
            days=_DAYS,
        )

    def _carry_out(self, request: HttpRequest, *, is_move: bool) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        keys = [int(key) for key in request.POST.getlist("booking")[:MOST_AT_ONCE] if is_key(key)]
        slot_key, way = request.POST.get("slot", ""), request.POST.get("told", "")
        slot = Slot.objects.filter(pk=slot_key).first() if is_key(slot_key) else None
        if is_move and slot is None:
            return self._page(request, keys, is_move=True, missing="Choose a slot first.")
        if way not in notices.methods_for(request.user):
            sentence = "Choose how to tell the customers."
            return self._page(request, keys, is_move=is_move, missing=sentence)
        bookings = Booking.objects.select_related("slot").filter(pk__in=keys).order_by("pk")
        seen = {booking.pk: request.POST.get(f"seen-{booking.pk}", "") for booking in bookings}
        user = cast("User", request.user)
        done = change(bookings, slot if is_move else None, seen, Method(way), user)
        self._say(request, done, is_move=is_move)
        return redirect("admin:bookings_booking_changelist")

    def _say(self, request: HttpRequest, done: Done, *, is_move: bool) -> None:
        what = "moved" if is_move else "cancelled"
        if done.count:
            self.message_user(request, f"Deliveries {what}: {done.count}.", messages.SUCCESS)
        for named, level in (
            (done.not_told, messages.WARNING),
            (done.refused, messages.ERROR),
        ):
            for sentence in named[:_MOST_SENTENCES]:
                self.message_user(request, sentence, level)
            if len(named) > _MOST_SENTENCES:
                self.message_user(request, f"And {len(named) - _MOST_SENTENCES} more.", level)


def change(
    bookings: Iterable[Booking],
    slot: Slot | None,
    seen: dict[int, str],
    how: Method,
    user: User,
) -> Done:
    """Move them to a slot (None: cancel them) and tell their customers, each in a transaction of its own.

    `seen` says for each how the page showed it (`seen_words`). What changed since is refused, and so a page that
    comes twice changes nothing more.
    """
    done = Done()
    for booking in bookings:
        name = visible(booking.reference)
        try:
            reason = _change_one(booking, slot, seen.get(booking.pk, ""), how, user)
        except CannotBook as error:
            done.refused.append(f"{name} was not changed: {error}")
        else:
            done.count += 1
            if reason:
                done.not_told.append(f"{name}: the customer was not told. {reason}")
    return done


def _change_one(booking: Booking, slot: Slot | None, seen: str, how: Method, user: User) -> str:
    """Why the customer was not told, or "". Raises CannotBook."""
    with transaction.atomic():
        current = lock_booking(booking)
        if not current.is_scheduled:
            raise CannotBook("It is cancelled.")
        if seen != seen_word(current):
            raise CannotBook(f"It changed since the page was opened and is now on {current.slot}.")
        if slot is None:
            dispatch.cancel(current, user=user)
        elif dispatch.move(current, slot, user=user) is None:
            raise CannotBook(f"It is already on {slot}.")
        try:
            with transaction.atomic():
                notices.inform(current, how, user, news=News.MOVED)
        except CannotTell as error:
            return str(error)
    return "Call them." if how == Method.NOBODY else ""


def _sms(booking: Booking, *, is_move: bool) -> str:
    """The text that this customer would get."""
    if is_move:
        return notices.example_notice(booking)
    off = Booking(reference=booking.reference, language=booking.language, state="cancelled")
    where = texts.where(booking.slot, booking.language)
    return notices.notice_text(off, where, News.CANCELLED)


@dataclass(frozen=True, slots=True)
class Choice:
    """A slot with room, and whether it is enough."""

    slot: Slot
    day: str
    load: int
    wanted: int  # how many of the chosen are not in it yet

    @property
    def free(self) -> int | None:
        """None: no limit."""
        return None if self.slot.capacity is None else self.slot.capacity - self.load

    @property
    def is_enough(self) -> bool:
        return self.free is None or self.free >= self.wanted

    @property
    def too_many(self) -> int:
        return 0 if self.free is None else self.wanted - self.free


def _choices(bookings: list[Booking]) -> list[Choice]:
    """Slots with free places on days on which somebody delivers, the earliest first."""
    today = timezone.localdate()
    coming = Slot.objects.filter(date__range=(today, today + dt.timedelta(days=_DAYS)))
    open_days = coming.exclude(date__in=ClosedDay.objects.values("date"))
    slots = with_booked(open_days).filter(HAS_ROOM).order_by("date", "window_start", "place")
    now = timezone.now()
    ahead = [slot for slot in slots[:_MOST_SLOTS] if slot.ends_at > now]
    choices = [
        Choice(
            slot=slot,
            day=show_day(slot.date),
            load=cast("Any", slot).load_now,
            wanted=sum(booking.slot_id != slot.pk for booking in bookings),
        )
        for slot in ahead
    ]
    return [choice for choice in choices if choice.wanted]
