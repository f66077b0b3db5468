"""The page that asks once more before an action changes rows."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

#: How many rows one click changes: more would be a slip of the hand.
MOST_AT_ONCE = 200


def page(
    model_admin: Any,
    request: HttpRequest,
    rows: QuerySet[Any],
    *,
    action: str,
    question: str,
    button: str,
) -> HttpResponse | None:
    """What to answer instead of doing it: the question, or a sentence. None once it was confirmed."""
    keys = list(rows.order_by("pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
    if not keys:
        return _refuse(model_admin, request, "None of the ticked rows can have this done to it.")
    if len(keys) > MOST_AT_ONCE:
        sentence = (
            f"At most {MOST_AT_ONCE} rows can be changed at once. Nothing was done: tick fewer."
        )
        return _refuse(model_admin, request, sentence)
    if request.POST.get("confirmed") == "yes":
        return None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": question,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "rows": rows.order_by("pk"),
        "keys": keys,
        "checkbox": ACTION_CHECKBOX_NAME,
        "action": action,
        "button": button,
    }
    return TemplateResponse(request, "admin/bookings/confirm.html", context)


def _refuse(model_admin: Any, request: HttpRequest, sentence: str) -> HttpResponse:
    model_admin.message_user(request, sentence, messages.WARNING)
    return redirect(request.get_full_path())
