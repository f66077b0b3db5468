"""Access to the staff pages outside the admin."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

P = ParamSpec("P")


class StaffRequest(HttpRequest):
    """A request of a logged-in member of staff."""

    user: User


def staff_only(
    *permissions: str,
) -> Callable[
    [Callable[Concatenate[StaffRequest, P], HttpResponse]],
    Callable[Concatenate[HttpRequest, P], HttpResponse],
]:
    """Allow staff with all these permissions; others get 403, anonymous users the log-in page."""

    def decorate(
        view: Callable[Concatenate[StaffRequest, P], HttpResponse],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        @functools.wraps(view)
        def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            user = request.user
            if not (user.is_active and user.is_staff and user.has_perms(permissions)):
                raise PermissionDenied
            return view(cast("StaffRequest", request), *args, **kwargs)

        return checked

    return decorate


def is_fetch(request: HttpRequest) -> bool:
    """Return True if one of our scripts asks for a part of the page instead of the whole page."""
    return request.headers.get("X-Requested-With") == "fetch"
