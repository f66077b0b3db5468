"""The history of replies: what each came to, what was said to it, and how soon."""

import datetime as dt
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator
from unfold.admin import ModelAdmin
from unfold.decorators import display

from bookings.admin.messages.reply_filters import (
    AnswerFilter,
    DigitFilter,
    LanguageFilter,
    MovedFilter,
    OutcomeFilter,
    PersonFilter,
    ReadingFilter,
    RuleFilter,
    SecondsFilter,
)
from bookings.admin.shared.columns import show_text
from bookings.admin.shared.counted_filters import ChoiceFilter
from bookings.admin.shared.day_filters import DeliveryDayFilter, ReceivedFilter
from bookings.admin.shared.filters import AttentionFilter
from bookings.admin.shared.paging import CappedPaginator
from bookings.models import MessageState
from bookings.models.outbound import with_answers

#: Characters of a text that the list shows.
_LISTED_WORDS, _LISTED = 160, 80


class ReplyHistory(ModelAdmin):
    """What the list of inbound messages needs to answer what ops ask."""

    paginator = CappedPaginator
    show_full_result_count = False
    #: Along an index, so that a page of half a million rows is there at once.
    ordering = ["-received_at", "-pk"]
    list_filter = [
        *(
            ReceivedFilter,
            ("outcome", OutcomeFilter),
            ReadingFilter,
            RuleFilter,
            DigitFilter,
            MovedFilter,
        ),
        *(AnswerFilter, SecondsFilter, AttentionFilter, LanguageFilter, PersonFilter),
        DeliveryDayFilter,
        ChoiceFilter,
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        inbound: Any = with_answers(super().get_queryset(request))
        moves = ("slot_changes__from_slot", "slot_changes__to_slot")
        rows: QuerySet[Any] = inbound.prefetch_related(*moves)
        return rows

    def presets(self) -> list[tuple[str, str]]:
        """Lists that are asked for every day, as (name, query). Any other is kept as the address that it has."""
        today = timezone.localdate()
        week = today - dt.timedelta(days=today.weekday())
        lists: list[tuple[str, dict[str, Any]]] = [
            ("Today", {"received_from": today}),
            ("Moved today", {"received_from": today, "moved": "yes"}),
            ("Acknowledgement failed", {"answer": MessageState.FAILED}),
            ("Slow acknowledgements", {"seconds": "60"}),
            (
                "Not understood this week",
                {"received_from": week, "outcome__exact": "not_understood"},
            ),
            ("Needs attention", {"attention": "yes"}),
        ]
        return [(name, urlencode(query)) for name, query in lists]

    @display(description="reply", ordering="text")
    def words(self, inbound: Any) -> str:
        """The beginning of them, and why a person must look at it, or had to.

        Of the parts of a text that did not become whole, one has the ticket of all and says so.
        """
        said = show_text(Truncator(inbound.said).chars(_LISTED_WORDS))
        ticket = getattr(inbound, "ticket", None)
        if ticket is None:
            return said
        why = show_text(ticket.reason)
        if ticket.settled_at is not None:
            return format_html('{}<div class="detail">Handled: {}</div>', said, why)
        return format_html('{}<div class="detail needs">Needs attention: {}</div>', said, why)

    @display(description="acknowledgement")
    def answered(self, inbound: Any) -> str | None:
        """What was said, where that text stands, and how long it took to leave us."""
        if inbound.answer_text is None:
            return None
        took = seconds_taken(inbound)
        return format_html(
            '{}<div class="detail">{}{}</div>',
            show_text(Truncator(inbound.answer_text).chars(_LISTED)),
            MessageState(inbound.answer_state).label,
            f", sent after {took}" if took else ", not sent",
        )

    @display(description="test")
    def try_link(self, inbound: Any) -> str:
        address = reverse("admin:bookings_inboundmessage_try")
        return format_html(
            '<a class="link" href="{}?message={}">Test this reply</a>', address, inbound.pk
        )


def seconds_taken(row: Any) -> str:
    """How long the customer waited: `4 s`, `3 min 5 s`, `2 h 10 min`; "" if nothing was handed over."""
    if row.answer_at is None:
        return ""
    minutes, seconds = divmod(round((row.answer_at - row.received_at).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
