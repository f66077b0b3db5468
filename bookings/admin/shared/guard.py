"""What a list is asked by hand-made addresses and forms: nonsense gets the whole list, never an error page."""

import re
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, SEARCH_VAR
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin

#: Every word of a search is looked for in every field: SQLite takes about a thousand conditions.
LONGEST_SEARCH = 200
_KEY = re.compile(r"[0-9]{1,18}")


def is_key(text: str) -> bool:
    """Return True if it can be a primary key: any database takes an integer of 18 digits."""
    return _KEY.fullmatch(text) is not None


class GuardedList(ModelAdmin):
    """A list that sends whoever asks for what no database can look up to `?e=1`, as Django does itself."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        if len(request.GET.get(SEARCH_VAR, "")) > LONGEST_SEARCH:
            raise IncorrectLookupParameters
        try:
            # An error of PostgreSQL ends only this piece of a transaction.
            with transaction.atomic():
                return super().get_changelist_instance(request)
        except (ValueError, OverflowError, DatabaseError) as error:
            raise IncorrectLookupParameters from error

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        if not all(map(is_key, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
        response: HttpResponse | None = super().response_action(request, queryset)
        return response
