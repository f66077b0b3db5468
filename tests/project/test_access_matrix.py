"""Access by role at every address: a table, compared with the server's answers.

An address that is not in the table fails, and so does a line without an address.
"""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admindocs.views import simplify_regex
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from bookings.models import Booking
from tests.factories import UserFactory
from tests.flow.admin.pages import make_story

pytestmark = pytest.mark.django_db

ROLES = ["stranger", "no role", "Dispatch", "Ops", "Auditor", "superuser"]

#: The answer to GET, then to an empty POST. `login`: sent to the login. `302`: sent elsewhere.
TABLE = """
#                                             stranger    no role     Dispatch    Ops         Auditor     superuser
/                                             login/login 302/405     200/405     302/405     302/405     200/405
/admin/                                       login/login 200/200     200/200     200/200     200/200     200/200
/admin/<app>/                                 login/login 404/404     200/200     200/200     200/200     200/200
/admin/<url>                                  login/login 404/404     404/404     404/404     404/404     404/404
/admin/auth/group/                            login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/group/<id>/                       login/login 302/302     302/302     302/302     302/302     302/302
/admin/auth/group/<id>/change/                login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/group/<id>/delete/                login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/group/<id>/history/               login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/group/add/                        login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/user/                             login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/user/<id>/password/               login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/user/<id>/                        login/login 302/302     302/302     302/302     302/302     302/302
/admin/auth/user/<id>/change/                 login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/user/<id>/delete/                 login/login 403/403     403/403     403/403     403/403     403/403
/admin/auth/user/<id>/history/                login/login 403/403     403/403     403/403     403/403     200/200
/admin/auth/user/add/                         login/login 403/403     403/403     403/403     403/403     200/200
/admin/autocomplete/                          login/login 403/405     403/405     403/405     403/405     403/405
/admin/bookings/batch/                        login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/batch/<id>/                   login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/batch/<id>/cancel/            login/login 405/403     405/302     405/403     405/403     405/302
/admin/bookings/batch/<id>/change/            login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/batch/<id>/delete/            login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/batch/<id>/history/           login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/batch/<id>/pause/             login/login 405/403     405/302     405/403     405/403     405/302
/admin/bookings/batch/<id>/resume/            login/login 405/403     405/302     405/403     405/403     405/302
/admin/bookings/batch/add/                    login/login 403/403     302/302     403/403     403/403     302/302
/admin/bookings/batchentry/                   login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/batchentry/<id>/              login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/batchentry/<id>/change/       login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/batchentry/<id>/delete/       login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/batchentry/<id>/history/      login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/batchentry/add/               login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/booking/                      login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/booking/<id>/                 login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/booking/<id>/change/          login/login 403/403     200/200     200/403     200/403     200/200
/admin/bookings/booking/<id>/delete/          login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/booking/<id>/history/         login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/booking/add/                  login/login 403/403     200/200     403/403     403/403     200/200
/admin/bookings/booking/export/               login/login 405/403     405/403     405/302     405/302     405/302
/admin/bookings/booking/<id>/told/            login/login 405/403     405/302     405/403     405/403     405/302
/admin/bookings/booking/cancel/               login/login 405/403     405/200     405/403     405/403     405/200
/admin/bookings/booking/move/                 login/login 405/403     405/200     405/403     405/403     405/200
/admin/bookings/booking/unaware/              login/login 403/405     200/405     200/405     200/405     200/405
/admin/bookings/circuit/                      login/login 403/403     403/403     200/200     200/200     200/200
/admin/bookings/circuit/<id>/                 login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/circuit/<id>/change/          login/login 403/403     403/403     200/403     200/403     200/403
/admin/bookings/circuit/<id>/delete/          login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/circuit/<id>/history/         login/login 403/403     403/403     200/200     200/200     200/200
/admin/bookings/circuit/add/                  login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/closedday/                    login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/closedday/<id>/               login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/closedday/<id>/change/        login/login 403/403     200/200     200/403     200/403     200/200
/admin/bookings/closedday/<id>/delete/        login/login 403/403     200/200     403/403     403/403     200/200
/admin/bookings/closedday/<id>/history/       login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/closedday/add/                login/login 403/403     200/200     403/403     403/403     200/200
/admin/bookings/ticket/                      login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/ticket/<id>/                 login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/ticket/<id>/act/             login/login 405/403     405/302     405/403     405/403     405/302
/admin/bookings/ticket/<id>/change/          login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/ticket/<id>/delete/          login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/ticket/<id>/history/         login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/ticket/<id>/parts/           login/login 405/403     405/200     405/403     405/403     405/200
/admin/bookings/ticket/add/                  login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/consentchange/                login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/consentchange/<id>/           login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/consentchange/<id>/change/    login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/consentchange/<id>/delete/    login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/consentchange/<id>/history/   login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/consentchange/<id>/number/    login/login 403/403     200/200     200/200     200/403     200/200
/admin/bookings/consentchange/booking/<id>/   login/login 403/403     200/200     200/200     200/403     200/200
/admin/bookings/consentchange/ticket/<id>/   login/login 403/403     200/200     200/200     200/403     200/200
/admin/bookings/consentchange/record/         login/login 403/403     200/200     200/200     403/403     200/200
/admin/bookings/consentchange/add/            login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/deliveryreceipt/              login/login 403/403     403/403     200/200     200/200     200/200
/admin/bookings/deliveryreceipt/<id>/         login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/deliveryreceipt/<id>/change/  login/login 403/403     403/403     200/403     200/403     200/403
/admin/bookings/deliveryreceipt/<id>/delete/  login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/deliveryreceipt/<id>/history/ login/login 403/403     403/403     200/200     200/200     200/200
/admin/bookings/deliveryreceipt/add/          login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/inboundmessage/               login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/inboundmessage/<id>/          login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/inboundmessage/<id>/change/   login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/inboundmessage/<id>/delete/   login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/inboundmessage/<id>/history/  login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/inboundmessage/add/           login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/inboundmessage/export/        login/login 405/403     405/403     405/302     405/302     405/302
/admin/bookings/inboundmessage/try/           login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/manifest/                     login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/manifest/<id>/                login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/manifest/<id>/change/         login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/manifest/<id>/delete/         login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/manifest/<id>/history/        login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/manifest/<id>/import/         login/login 405/403     405/302     405/403     405/403     405/302
/admin/bookings/manifest/<id>/refused/        login/login 405/403     405/200     405/403     405/403     405/200
/admin/bookings/manifest/add/                 login/login 403/403     200/200     403/403     403/403     200/200
/admin/bookings/manifest/example/             login/login 403/403     200/200     403/403     403/403     200/200
/admin/bookings/notification/                 login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/notification/<id>/            login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/notification/<id>/change/     login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/notification/<id>/delete/     login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/notification/<id>/history/    login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/notification/add/             login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/outboundmessage/              login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/outboundmessage/<id>/         login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/outboundmessage/<id>/change/  login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/outboundmessage/<id>/delete/  login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/outboundmessage/<id>/history/ login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/outboundmessage/add/          login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/outboundmessage/costs/        login/login 403/403     403/403     200/200     200/200     200/200
/admin/bookings/outboundmessage/export/       login/login 405/403     405/403     405/302     405/302     405/302
/admin/bookings/slot/                         login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/slot/<id>/                    login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/slot/<id>/change/             login/login 403/403     200/200     200/403     200/403     200/200
/admin/bookings/slot/<id>/delete/             login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/slot/<id>/history/            login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/slot/add/                     login/login 403/403     200/200     403/403     403/403     200/200
/admin/bookings/slotchange/                   login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/slotchange/<id>/              login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/slotchange/<id>/change/       login/login 403/403     200/403     200/403     200/403     200/403
/admin/bookings/slotchange/<id>/delete/       login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/slotchange/<id>/history/      login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/slotchange/add/               login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/staffact/                     login/login 403/403     403/403     200/200     200/200     200/200
/admin/bookings/staffact/<id>/                login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/staffact/<id>/change/         login/login 403/403     403/403     200/403     200/403     200/403
/admin/bookings/staffact/<id>/delete/         login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/staffact/<id>/history/        login/login 403/403     403/403     200/200     200/200     200/200
/admin/bookings/staffact/add/                 login/login 403/403     403/403     403/403     403/403     403/403
/admin/bookings/weeklyslot/                   login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/weeklyslot/<id>/              login/login 302/302     302/302     302/302     302/302     302/302
/admin/bookings/weeklyslot/<id>/change/       login/login 403/403     200/200     200/403     200/403     200/200
/admin/bookings/weeklyslot/<id>/delete/       login/login 403/403     200/200     403/403     403/403     200/200
/admin/bookings/weeklyslot/<id>/history/      login/login 403/403     200/200     200/200     200/200     200/200
/admin/bookings/weeklyslot/add/               login/login 403/403     200/200     403/403     403/403     200/200
/admin/bookings/weeklyslot/make/              login/login 403/403     200/200     403/403     403/403     200/200
/admin/jsi18n/                                login/login 200/405     200/405     200/405     200/405     200/405
/admin/login/                                 200/200     302/200     302/200     302/200     302/200     302/200
/admin/logout/                                login/login 405/200     405/200     405/200     405/200     405/200
/admin/password_change/                       login/login 200/200     200/200     200/200     200/200     200/200
/admin/password_change/done/                  login/login 200/405     200/405     200/405     200/405     200/405
/admin/r/<type>/<id>/                         login/login 404/404     404/404     404/404     404/404     404/404
/admin/search/                                login/login 200/200     200/200     200/200     200/200     200/200
/demo/deliveries.csv                          login/login 403/405     404/405     403/405     403/405     404/405
/healthz                                      200/405     200/405     200/405     200/405     200/405     200/405
/notifications/<id>/                          login/login 403/405     200/405     403/405     403/405     200/405
/notify                                       login/login 403/403     302/400     403/403     403/403     302/400
/notify/preview                               login/login 405/403     405/200     405/403     405/403     405/200
/numbers/<table>/<id>/                        login/login 405/403     405/200     405/403     405/403     405/200
/readyz                                       200/405     200/405     200/405     200/405     200/405     200/405
/second-factor/                               login/login 200/200     200/200     200/200     200/200     200/200
/simulator/                                   login/login 200/405     200/405     200/405     200/405     200/405
/simulator/<msisdn>/                          login/login 200/405     200/405     200/405     200/405     200/405
/simulator/<msisdn>/reply                     login/login 405/403     405/302     405/403     405/403     405/302
/simulator/<msisdn>/switches                  login/login 405/403     405/302     405/403     405/403     405/302
/webhooks/delivery-receipt/                   200/200     200/200     200/200     200/200     200/200     200/200
/webhooks/inbound-sms/                        200/200     200/200     200/200     200/200     200/200     200/200
"""


#: Who may choose which action on a list; nobody deletes.
ACTIONS = {
    "booking": {
        "notify_customers": {"Dispatch", "superuser"},
        "move_bookings": {"Dispatch", "superuser"},
        "cancel_bookings": {"Dispatch", "superuser"},
        "export_csv": {"Ops", "Auditor", "superuser"},
        "export_xlsx": {"Ops", "Auditor", "superuser"},
    },
    "outboundmessage": {
        "release_held": {"Ops", "superuser"},
        "drop_held": {"Ops", "superuser"},
        "export_csv": {"Ops", "Auditor", "superuser"},
        "export_xlsx": {"Ops", "Auditor", "superuser"},
    },
    "inboundmessage": {
        "run_again": {"Ops", "superuser"},
        "export_csv": {"Ops", "Auditor", "superuser"},
        "export_xlsx": {"Ops", "Auditor", "superuser"},
    },
    "circuit": {"close_circuit": {"Ops", "superuser"}},
    "user": {"forget_second_factor": {"superuser"}},
    "group": {"delete_selected": {"superuser"}},
}
VIEWED_BY_DISPATCH = {
    *("booking", "slot", "slotchange", "notification", "slotoption"),
    *("outboundmessage", "inboundmessage", "consent", "consentchange"),
    *("ticket", "batch", "batchentry", "manifest", "weeklyslot", "closedday"),
}
#: What a group may do, beside viewing.
MAY = {
    "Dispatch": {
        *("add_booking", "change_booking", "add_slot", "change_slot"),
        *("add_weeklyslot", "change_weeklyslot", "delete_weeklyslot"),
        *("add_closedday", "change_closedday", "delete_closedday"),
        *("notify_booking", "reveal_number"),
        *("change_ticket", "add_manifest", "add_consentchange"),
    },
    "Ops": {"export_history", "change_circuit", "add_consentchange"},
    "Auditor": {"export_history"},
}
#: Vonage sends no token: a signature stands for it.
SIGNED = {"/webhooks/delivery-receipt/", "/webhooks/inbound-sms/"}


def patterns(resolver: Any, prefix: str = "") -> Iterator[str]:
    """Return every address of the project, with `<id>` in place of a row's key."""
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, route)
        elif isinstance(entry, URLPattern):
            yield re.sub(r"<(?:\w+:)?(\w+)>", _short, simplify_regex(route))


def _short(found: re.Match[str]) -> str:
    names = {"content_type_id": "type", "app_label": "app"}
    return f"<{names.get(found[1], 'id' if found[1] in {'object_id', 'pk'} else found[1])}>"


def expected() -> dict[str, list[str]]:
    """Return the table: for each address the answers by role."""
    lines = [line.split() for line in TABLE.strip().splitlines() if not line.startswith("#")]
    table = {address: cells for address, *cells in lines}
    assert len(table) == len(lines), "an address stands there twice"
    return table


@pytest.fixture(scope="module")
def addresses() -> set[str]:
    found = set(patterns(get_resolver()))
    assert {"/", "/admin/", "/healthz"} <= found
    return found


@pytest.fixture
def address_of() -> Callable[[str], str]:
    """Fill an address in with a real row of its table."""
    make_story()
    tables: list[Any] = [*apps.get_app_config("bookings").get_models(), User, Group]
    rows = {model.__name__.lower(): model._default_manager.first() for model in tables}

    def fill(address: str) -> str:
        about = re.match(r"/admin/.*?(\w+)/<|/(notification)s/", address)
        table = (about[1] or about[2]) if about else ""
        values = {
            "id": str(rows.get(table, rows["booking"]).pk),
            "table": "booking",
            "app": "bookings",
            "type": str(ContentType.objects.get_for_model(Booking).pk),
            "msisdn": rows["booking"].msisdn,
            "token": "",
            "url": "nowhere",
        }
        filled = re.sub(r"<(\w+)>", lambda found: values[found[1]], address)
        return filled.replace("//", "/")

    return fill


def account(role: str) -> User:
    is_staff, is_superuser = role != "customer account", role == "superuser"
    user = UserFactory.create(is_superuser=is_superuser, is_staff=is_staff)
    user.groups.set(Group.objects.filter(name=role))
    return user


def browser(role: str) -> Client:
    client = Client()
    if role != "stranger":
        client.force_login(account(role))
    return client


def ask(client: Client, method: str, address: str) -> str:
    """Return the answer in the table's words, and undo its effects, a logout too."""
    cookies = copy.deepcopy(client.cookies)
    with transaction.atomic():
        response = getattr(client, method)(address)
        transaction.set_rollback(True)
    client.cookies = cookies
    is_login = response.status_code == 302 and response.url.startswith("/admin/login/")
    return "login" if is_login else str(response.status_code)


def test_every_address_stands_in_the_table_and_no_other(addresses):
    assert addresses == set(expected())


@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_the_listed_answer(role, address_of):
    client, column = browser(role), ROLES.index(role)
    answers = {}
    for address in expected():
        filled = address_of(address)
        answers[address] = f"{ask(client, 'get', filled)}/{ask(client, 'post', filled)}"
    assert answers == {address: cells[column] for address, cells in expected().items()}


def test_an_account_that_is_no_staff_opens_nothing(address_of, addresses):
    client = browser("customer account")
    for address in addresses:
        strangers = expected()[address][0]
        for method, stranger in zip(("get", "post"), strangers.split("/"), strict=True):
            answer = ask(client, method, address_of(address))
            assert answer in {stranger, "302", "403", "404", "405"}, (method, address)


@pytest.mark.parametrize("role", ["Dispatch", "superuser"])
def test_head_answers_as_get_does_or_not_at_all(role, address_of, addresses):
    client, column = browser(role), ROLES.index(role)
    for address in addresses - {"/admin/login/"}:  # HEAD gets its form where GET leads on
        get = expected()[address][column].split("/")[0]
        assert ask(client, "head", address_of(address)) in {get, "405"}, address


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_post_without_a_csrf_token_changes_nothing(method, address_of, addresses):
    client = browser("superuser")
    client.handler.enforce_csrf_checks = True
    for address in addresses - SIGNED:
        assert ask(client, method, address_of(address)) in {"403", "405"}, address


def test_a_webhook_takes_only_get_and_post(address_of):
    for address in SIGNED:
        for method in ("put", "patch", "delete"):
            assert ask(browser("stranger"), method, address_of(address)) == "405"


# Actions and rights


@pytest.mark.parametrize("role", ROLES[1:])
def test_lists_offer_the_actions_that_are_written_down(role, rf):
    request = rf.get("/admin/")
    request.user = account(role)
    for model, model_admin in admin.site._registry.items():
        name = model.__name__.lower()
        offered = {action for action, roles in ACTIONS.get(name, {}).items() if role in roles}
        assert set(model_admin.get_actions(request)) == offered, name


def test_the_groups_have_the_rights_that_are_written_down():
    everything = {model.__name__.lower() for model in apps.get_app_config("bookings").get_models()}
    views = {"Dispatch": VIEWED_BY_DISPATCH, "Ops": everything, "Auditor": everything}
    for group in Group.objects.all():
        rights = set(group.permissions.values_list("codename", flat=True))
        assert rights == {f"view_{name}" for name in views[group.name]} | MAY[group.name]
    assert set(Group.objects.values_list("name", flat=True)) == set(MAY)
