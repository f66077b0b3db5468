"""Search in the lists that grow without end: whole ids, numbers and references first, then words in the newest rows."""

from collections.abc import Iterator
from typing import Any

from django.contrib.admin.utils import get_fields_from_path
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import smart_split

from bookings.admin.shared.model_admins import KeptAdmin, last_digits, phone_query
from bookings.models import Booking

#: Words are looked for in so many of the newest texts that the filters leave: days that are chosen lead further back.
NEWEST = 10_000
_ONLY_NEWEST = "Only the newest {:,} messages were searched for words."
#: A beginning of so many characters is an id's and no word's.
_BEGINNING = 8


class LongListAdmin(KeptAdmin):
    """A list of hundreds of thousands of rows.

    Of `search_fields` those with `=` are ids, those of a booking find it by reference or name, the others hold words.
    What is an id, a whole phone number or a whole reference is not looked for as a word as well.
    """

    #: What to do about words of older texts.
    older_words = "Choose dates to look further back."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        rows: QuerySet[Any] = queryset.model.objects.order_by()
        for wanted in self._certain(term):
            found = queryset.filter(pk__in=rows.filter(wanted).values("pk"))
            if found.exists():
                return found, False
        words = [bit.strip("\"'") for bit in smart_split(term)]
        found = rows.filter(Q(**{f"{self._booking()}__in": _bookings(words)}))
        phones = phone_query(term, self.phone_fields, in_pieces=self.has_reveal_permission(request))
        others = [rows.filter(phones)] if phones is not None else []
        others += self._with_words(request, queryset, words)
        all_found = found.values("pk").union(*(some.values("pk") for some in others), all=True)
        return queryset.filter(pk__in=all_found), False

    def _certain(self, term: str) -> Iterator[Q]:
        """What the term can be as a whole: looked for first, since most of these have an index."""
        for name in self.search_fields:
            if name.startswith("="):
                lookup = "startswith" if len(term) >= _BEGINNING else "exact"
                yield Q(**{f"{name[1:]}__{lookup}": term})
        phones = phone_query(term, self.phone_fields, in_pieces=False)
        if phones is not None and last_digits(term):
            yield phones
        yield Q(**{f"{self._booking()}__reference": term})

    def _booking(self) -> str:
        """The way to the booking of a row."""
        of_booking = (str(name) for name in self.search_fields if name.endswith("__reference"))
        return next(of_booking).removesuffix("__reference")

    def _with_words(
        self, request: HttpRequest, queryset: QuerySet[Any], words: list[str]
    ) -> Iterator[QuerySet[Any]]:
        """The rows with all the words in one of their texts, if that is one of the newest: else the page says so."""
        for name in self.search_fields:
            if name.startswith(("=", self._booking())):
                continue
            path, _, _ = str(name).rpartition("__")
            key, texts = "pk", queryset
            if path:
                related: Any = get_fields_from_path(queryset.model, path)[-1].related_model
                key, texts = f"{path}__pk", related.objects
            by_key = texts.order_by("-pk").values_list("pk", flat=True)
            oldest = next(iter(by_key[NEWEST - 1 : NEWEST]), 0)
            if oldest and request.method == "GET":
                self.message_user(request, f"{_ONLY_NEWEST.format(NEWEST)} {self.older_words}")
            holds = (Q(**{f"{name}__icontains": word}) for word in words)
            yield queryset.model.objects.filter(*holds, **{f"{key}__gte": oldest}).order_by()


def _bookings(words: list[str]) -> QuerySet[Booking]:
    """Those whose reference or customer's name hold all of these."""
    holds = (Q(reference__icontains=word) | Q(customer_name__icontains=word) for word in words)
    return Booking.objects.filter(*holds).order_by()
