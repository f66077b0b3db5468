"""The page of one ticket: what was said, what is open, and what a person can do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.urls import URLPattern
from django.utils import timezone

from bookings.admin.shared.guard import is_key
from bookings.admin.shared.pages import OwnPages
from bookings.admin.shared.row_versions import changed_since, seen_words
from bookings.dispatch import ticket_actions
from bookings.dispatch.ticket_actions import CannotAct
from bookings.language import encoding
from bookings.models import (
    Booking,
    Notification,
    Slot,
    SlotOption,
    Ticket,
    TicketKind,
    lock_customer,
)
from bookings.outbox import spending
from bookings.reporting.timeline.steps import full_name
from bookings.reporting.timeline.thread import thread
from bookings.scheduling import capacity, offers
from bookings.scheduling.clock import is_quiet
from bookings.web.form_tokens import NONCE, new_nonce

#: Characters of an answer that are read at all.
_LONGEST = 1200


class AnswerForm(forms.Form):
    """A person's answer, once per nonce."""

    words = forms.CharField(max_length=_LONGEST, widget=forms.Textarea)
    nonce = forms.RegexField(NONCE)


@dataclass(frozen=True, slots=True)
class Offered:
    """An option, and whether it can be had now: `obstacle` says why not, `note` what to know."""

    option: SlotOption
    obstacle: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A notification that the customer was asked, with its options."""

    notification: Notification
    options: list[Offered]
    is_open: bool
    shown: str  # how the delivery stands, as `changed_since` knows it


class Attending(OwnPages):
    """Mixed into the admin of tickets: its page, and the acts on it."""

    def get_urls(self) -> list[URLPattern]:
        return [
            self.own_path("<int:pk>/act/", self.act_view, "act"),
            self.own_path("<int:pk>/parts/", self.parts_view, "parts"),
            *super().get_urls(),
        ]

    def may_act(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perms(["bookings.view_ticket", "bookings.change_ticket"]))

    def may_opt_out(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perm("bookings.add_consentchange"))

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """The page. It changes nothing: what is done is posted to `act`."""
        if request.method == "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        if not is_key(object_id):
            raise Http404("Ticket not found.")
        return self._page(request, _find(int(object_id)))

    def parts_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What the answer that is being written would cost. A script gets that alone, a browser the page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.may_act(request):
            raise PermissionDenied
        words, ticket = request.POST.get("words", "")[:_LONGEST], _find(pk)
        if request.headers.get("X-Requested-With") == "fetch":
            cost = _cost(words, ticket.msisdn)
            return render(request, "admin/bookings/ticket/parts.html", cost)
        return self._page(request, ticket, words)

    def act_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Do what was chosen; what cannot be done is said, and nothing that was typed is lost."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        act = request.POST.get("act", "")
        if not self.may_act(request) or (act == "opt_out" and not self.may_opt_out(request)):
            raise PermissionDenied
        ticket = _find(pk)
        try:
            with transaction.atomic():
                level, sentence, is_done = _ACTS.get(act, _nothing)(request, ticket)
        except CannotAct as error:
            return self._refuse(request, pk, str(error))
        self.message_user(request, sentence, level)
        if is_done:
            return redirect("admin:bookings_ticket_changelist")
        return redirect("admin:bookings_ticket_change", pk)

    def _refuse(self, request: HttpRequest, pk: int, sentence: str) -> HttpResponse:
        self.message_user(request, sentence, messages.ERROR)
        words = request.POST.get("words", "")
        if words:
            return self._page(request, _find(pk), words[:_LONGEST], status=409)
        return redirect("admin:bookings_ticket_change", pk)

    def _page(
        self, request: HttpRequest, ticket: Ticket, words: str = "", *, status: int = 200
    ) -> HttpResponse:
        user: Any = request.user
        waiting = Ticket.objects.waiting().filter(msisdn=ticket.msisdn)
        beside = list(waiting.exclude(pk=ticket.pk).order_by("pk")[:20])
        notifications = ticket_actions.list_notifications(ticket)
        shown = seen_words(
            filter(None, [ticket.booking, *(each.booking for each in notifications)])
        )
        return self.own_page(
            request,
            "ticket/page.html",
            f"Needs attention: {ticket.get_kind_display()}",
            status=status,
            **_cost(words, ticket.msisdn),
            ticket=ticket,
            original=ticket,
            owner=full_name(ticket.owner),
            beside=beside,
            seen=max([ticket.pk, *(row.pk for row in beside)]),
            thread=thread(ticket),
            shown=shown.get(ticket.booking_id or 0, ""),
            offers=[
                _offer(notification, shown[notification.booking_id])
                for notification in notifications
            ],
            may_act=self.may_act(request),
            obstacle=ticket_actions.why_not_mine(ticket, user),
            may_take=ticket_actions.may_take_over(ticket, user),
            is_mine=ticket.settled_at is None and ticket.owner_id == user.pk,
            why_not_answered=ticket_actions.why_not_answered(ticket),
            is_quiet=is_quiet(timezone.now()),
            wants_out=ticket.kind == TicketKind.WANTS_OUT and self.may_opt_out(request),
            nonce=new_nonce(),
            words=words,
            longest=_LONGEST,
        )


def _find(pk: int) -> Ticket:
    ticket = Ticket.objects.select_related(*ticket_actions.RELATED).filter(pk=pk).first()
    if ticket is None:
        raise Http404("Ticket not found.")
    return ticket


def _offer(notification: Notification, shown: str) -> Offer:
    now, booking = timezone.now(), notification.booking
    offered = [
        Offered(
            option,
            _obstacle(option.slot, notification),
            "cut-off passed" if option.slot.cutoff_at <= now else "",
        )
        for option in offers.options_of(notification)
    ]
    is_open = notification.is_open_at(now) and booking.is_scheduled
    return Offer(notification, offered, is_open, shown)


def _obstacle(slot: Slot, notification: Notification) -> str:
    """Why the delivery cannot be put there now: only a look, the move itself decides."""
    booking = notification.booking
    if not booking.is_scheduled:
        return "the delivery is cancelled"
    if slot.ends_at <= timezone.now():
        return "over"
    if slot.pk == booking.slot_id or capacity.has_room(slot, for_booking=booking):
        return ""
    return "closed" if slot.capacity == 0 else "full"


def _cost(words: str, msisdn: str) -> dict[str, Any]:
    """What an answer takes, as the customer would get it; nothing for no words."""
    if not words.strip():
        return {"answer": ""}
    text = ticket_actions.compose_text(words)
    parts = encoding.count_parts(text)
    return {
        "answer": text,
        "parts": parts,
        "cost": spending.estimate(parts, msisdn),
        "costly": encoding.costly_characters(text),
        "is_too_long": parts > ticket_actions.MOST_PARTS,
        "most_parts": ticket_actions.MOST_PARTS,
    }


# What can be done: each returns how to say what it came to, and whether the ticket is settled.

Done = tuple[int, str, bool]


def _nothing(request: HttpRequest, ticket: Ticket) -> Done:
    raise CannotAct("Choose an action.")


def _take(request: HttpRequest, ticket: Ticket) -> Done:
    ticket_actions.take(ticket, _user(request))
    return messages.SUCCESS, "Assigned to you, with everything from this number.", False


def _let_go(request: HttpRequest, ticket: Ticket) -> Done:
    ticket_actions.let_go(ticket, _user(request))
    return messages.SUCCESS, "Unassigned.", True


def _apply(request: HttpRequest, ticket: Ticket) -> Done:
    key = request.POST.get("option", "")
    option = _option(key)
    if option is None:
        raise CannotAct("Choose one of the options.")
    _check_unchanged(request, option.notification.booking, ticket)
    is_told = ticket_actions.choose_option(ticket, option, _user(request), seen=_seen(request))
    where = f"{option.notification.booking} is booked for {option.slot}"
    if is_told:
        return messages.SUCCESS, f"{where}. The customer is texted.", True
    why = ticket_actions.why_not_answered(ticket)
    sentence = f"{where}, but the customer was not texted. {why} Call, then choose “Told by phone”."
    return messages.WARNING, sentence, False


def _answer(request: HttpRequest, ticket: Ticket) -> Done:
    form = AnswerForm(request.POST)
    if not form.is_valid():
        is_long = len(request.POST.get("words", "")) > _LONGEST
        raise CannotAct("Make it shorter." if is_long else "Write a message first.")
    words, nonce = form.cleaned_data["words"], form.cleaned_data["nonce"]
    message = ticket_actions.answer_by_text(
        ticket, words, _user(request), nonce=nonce, seen=_seen(request)
    )
    if message is None:
        return messages.INFO, "This message was already sent. Nothing was sent again.", True
    later = " It is sent when quiet hours end." if is_quiet(timezone.now()) else ""
    return messages.SUCCESS, f"Message queued.{later}", True


def _told_by_phone(request: HttpRequest, ticket: Ticket) -> Done:
    _check_unchanged(request, ticket.booking, ticket)
    ticket_actions.told_by_phone(ticket, _user(request), seen=_seen(request))
    return messages.SUCCESS, "Recorded: told by phone.", True


def _set_aside(request: HttpRequest, ticket: Ticket) -> Done:
    ticket_actions.set_aside(ticket, _user(request))
    return messages.SUCCESS, "Closed: no action needed.", True


def _opt_out(request: HttpRequest, ticket: Ticket) -> Done:
    ticket_actions.opt_out(ticket, _user(request))
    return messages.SUCCESS, "Recorded: opted out. This number gets no more messages.", True


_ACTS: dict[str, Callable[[HttpRequest, Ticket], Done]] = {
    "take": _take,
    "let_go": _let_go,
    "apply": _apply,
    "answer": _answer,
    "told_by_phone": _told_by_phone,
    "set_aside": _set_aside,
    "opt_out": _opt_out,
}


def _user(request: HttpRequest) -> Any:
    return request.user


def _check_unchanged(request: HttpRequest, booking: Booking | None, ticket: Ticket) -> None:
    """Raise CannotAct if the delivery is not as the page showed it: the customer was told of another slot."""
    if booking is None or booking.msisdn != ticket.msisdn or ticket.settled_at is not None:
        return
    # At once all that the act locks too: the booking's number alone, and then others, could be a deadlock.
    lock_customer(ticket.msisdn, *([ticket.booking.msisdn] if ticket.booking else []))
    if now := changed_since(request.POST.get("shown", ""), booking):
        raise CannotAct(f"{now} Nothing was changed.")


def _seen(request: HttpRequest) -> int:
    """The last ticket of this number that the page showed."""
    key = request.POST.get("seen", "")
    return int(key) if is_key(key) else 0


def _option(key: str) -> SlotOption | None:
    if not is_key(key):
        return None
    return SlotOption.objects.select_related("slot", "notification__booking").filter(pk=key).first()
