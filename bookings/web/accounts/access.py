"""Who may open staff's pages."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

P = ParamSpec("P")


class StaffRequest(HttpRequest):
    """A request by somebody who has logged in."""

    user: User


def staff_only(
    *permissions: str,
) -> Callable[
    [Callable[Concatenate[StaffRequest, P], HttpResponse]],
    Callable[Concatenate[HttpRequest, P], HttpResponse],
]:
    """Let in staff with all these permissions. 403 for others; strangers are sent to the login."""

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
    """Whether a script of ours asks, for a piece of the page instead of all of it."""
    return request.headers.get("X-Requested-With") == "fetch"
