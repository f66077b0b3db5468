"""The page that asks once more before an action changes rows. It is carried out once, however often it is sent."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from bookings.models import ActKind, StaffAct

#: How many rows one click changes: more would be a slip of the hand.
MOST_AT_ONCE = 200
#: What such a page comes to is one of these acts: one since the page was opened makes it an old one.
_ACTS = (ActKind.RELEASED, ActKind.DROPPED, ActKind.REPLAYED)


def page(
    model_admin: Any,
    request: HttpRequest,
    rows: QuerySet[Any],
    *,
    action: str,
    notification: str,
    button: str,
) -> HttpResponse | None:
    """What to answer instead of doing it: the notification, or a sentence. None once it was confirmed.

    Then the caller writes the act down in the same transaction: of two who confirm at once, one waits here and is old.
    """
    is_confirmed = request.POST.get("confirmed") == "yes"
    if is_confirmed:
        _wait_for_others()
    keys = list(rows.order_by("pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
    if not keys:
        return _refuse(model_admin, request, "This action does not apply to the selected rows.")
    if len(keys) > MOST_AT_ONCE:
        sentence = f"Nothing was changed: select at most {MOST_AT_ONCE} rows."
        return _refuse(model_admin, request, sentence)
    last = _last_act()
    if is_confirmed and request.POST.get("seen") == last:
        return None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": notification,
        "is_old": is_confirmed,
        "seen": last,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "rows": rows.order_by("pk"),
        "keys": keys,
        "checkbox": ACTION_CHECKBOX_NAME,
        "action": action,
        "button": button,
    }
    return TemplateResponse(request, "admin/bookings/confirm.html", context)


def _wait_for_others() -> None:
    """Until their act is committed. There may be no act yet that could be locked, so it is the kind of row."""
    acts = ContentType.objects.filter(app_label="bookings", model="staffact")
    list(acts.select_for_update(no_key=True))


def _last_act() -> str:
    last = StaffAct.objects.filter(kind__in=_ACTS).values_list("pk", flat=True).first()
    return str(last or 0)


def _refuse(model_admin: Any, request: HttpRequest, sentence: str) -> HttpResponse:
    model_admin.message_user(request, sentence, messages.WARNING)
    return redirect(request.get_full_path())
