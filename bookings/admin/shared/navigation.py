"""The sidebar: named in settings.UNFOLD["SIDEBAR"]["navigation"] by its dotted path."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from bookings.models import Circuit, Ticket

#: More are not counted.
_MOST_COUNTED = 99

#: (title, icon, model) by heading.
_LISTS = {
    "Deliveries": [
        ("Bookings", "package_2", "bookings.booking"),
        ("Manifests", "upload_file", "bookings.manifest"),
        ("Slots", "calendar_month", "bookings.slot"),
        ("Weekly pattern", "calendar_view_week", "bookings.weeklyslot"),
        ("Closed days", "event_busy", "bookings.closedday"),
    ],
    "Conversation": [
        ("Needs attention", "priority_high", "bookings.ticket"),
        ("Batches", "campaign", "bookings.batch"),
        ("Notifications", "contact_support", "bookings.notification"),
        ("Outbound messages", "outbox", "bookings.outboundmessage"),
        ("Inbound messages", "inbox", "bookings.inboundmessage"),
    ],
    "History": [
        ("Slot changes", "move_down", "bookings.slotchange"),
        ("Delivery receipts", "receipt_long", "bookings.deliveryreceipt"),
        ("Consent changes", "do_not_disturb_on", "bookings.consentchange"),
        ("Activity log", "visibility", "bookings.staffact"),
        ("Sending", "electric_bolt", "bookings.circuit"),
    ],
    "Staff": [
        ("Users", "person", "auth.user"),
        ("Groups", "group", "auth.group"),
    ],
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """What this member of staff may open, by heading."""
    groups = {title: [_list(request, *entry) for entry in lists] for title, lists in _LISTS.items()}
    unaware = _unaware(request)
    if request.path == unaware["link"]:
        groups["Deliveries"][0]["active"] = False  # the bookings, whose address begins this one
    groups["Deliveries"].insert(0, _notify_form(request))
    groups["Deliveries"].append(unaware)
    groups["Staff"].append(_item("Two-factor login", "phonelink_lock", reverse("second-factor")))
    if settings.SMS_GATEWAY == "simulator":
        groups["Conversation"].append(_item("Simulator", "smartphone", reverse("simulator")))
    return [{"title": title, "items": items} for title, items in groups.items()]


def _item(title: str, icon: str, link: str, *, is_shown: bool = True) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": link, "permission": lambda _: is_shown}


def _list(request: HttpRequest, title: str, icon: str, model: str) -> dict[str, Any]:
    app_label, name = model.split(".")
    may_see = request.user.has_perm(f"{app_label}.view_{name}")
    address = reverse(f"admin:{app_label}_{name}_changelist")
    item = _item(title, icon, address, is_shown=may_see)
    if name == "circuit" and Circuit.current().opened_at:
        item |= {"badge": "paused", "badge_variant": "danger"}
    if name == "ticket" and may_see and (waiting := _waiting()):
        item |= {"badge": waiting, "badge_variant": "warning"}
    return item


def _waiting() -> str:
    """How many things wait for a person, as `7` or `99+`; "" if there is none."""
    count = Ticket.objects.waiting().order_by()[: _MOST_COUNTED + 1].count()
    if count > _MOST_COUNTED:
        return f"{_MOST_COUNTED}+"
    return str(count or "")


def _notify_form(request: HttpRequest) -> dict[str, Any]:
    may = request.user.has_perms(["bookings.notify_booking", "bookings.add_booking"])
    # Its address begins every other one, so the theme would think it open always.
    return _item("Notify a customer", "send", reverse("notify-form"), is_shown=may) | {
        "active": False
    }


def _unaware(request: HttpRequest) -> dict[str, Any]:
    may = request.user.has_perm("bookings.view_booking")
    address = reverse("admin:bookings_booking_unaware")
    return _item("Customers to call", "phone_in_talk", address, is_shown=may)
