"""Pages of a list that may be long: nobody waits for an exact count of half a million rows."""

from functools import cached_property
from typing import Any

from django.core.paginator import Paginator

#: Rows that are counted, and can be paged through. Whoever needs more filters, or exports.
MOST_COUNTED = 10_000


class _AtLeast(int):
    """A count that was not finished, and says so where it is shown."""

    def __str__(self) -> str:
        return f"{int(self):,} or more"


class CappedPaginator(Paginator):
    """Counts so far and no further."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        rows = rows.order_by().values("pk")
        counted = rows[:MOST_COUNTED].count()
        return _AtLeast(counted) if counted == MOST_COUNTED else int(counted)
