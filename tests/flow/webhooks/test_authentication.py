"""Authentication of the two webhooks: unproven requests get a status and have no effect."""

import functools
from datetime import timedelta

import pytest

from bookings.gateways.signature import METHODS
from tests.flow.webhooks.conftest import (
    BOTH,
    NEXT_SECRET,
    NOTHING,
    PATH_TOKEN,
    ROTATION,
    SECRET,
    SIGNATURE,
    TOKEN,
    WAYS,
    Case,
    is_silent,
    signed,
    without,
)

pytestmark = pytest.mark.django_db

FORGERIES = {
    "no signature": Case(SIGNATURE, dict),
    "empty signature": Case(SIGNATURE, lambda fields: fields | {"sig": ""}),
    "wrong signature": Case(SIGNATURE, lambda fields: fields | {"sig": "0" * 64}),
    "10 kB of signature": Case(SIGNATURE, lambda fields: fields | {"sig": "0" * 10_000}),
    "signature beyond ASCII": Case(SIGNATURE, lambda fields: fields | {"sig": "é" * 64}),
    "half an emoji": Case(SIGNATURE, lambda fields: fields | {"sig": "\ud83d", "x": "\ude00"}),
    "a number": Case(SIGNATURE, lambda fields: fields | {"sig": 0}),
    "signature with a space": Case(SIGNATURE, lambda f: f | {"sig": signed(f)["sig"] + " "}),
    "changed field": Case(SIGNATURE, lambda fields: signed(fields) | {"messageId": "0A"}),
    "added field": Case(SIGNATURE, lambda fields: signed(fields) | {"x": "1"}),
    "removed field": Case(SIGNATURE, lambda fields: without(signed(fields), "to")),
    "wrong method": Case(SIGNATURE, lambda fields: signed(fields, method="sha512")),
    "unkeyed method": Case(SIGNATURE, lambda fields: signed(fields, method="md5hash")),
    "another's secret": Case(SIGNATURE, lambda fields: signed(fields, "another's")),
    "next secret too early": Case(SIGNATURE, lambda fields: signed(fields, NEXT_SECRET)),
    "old secret after rotation": Case(ROTATION, lambda fields: signed(fields, "old")),
    "the token instead of a signature": Case(SIGNATURE, dict, TOKEN),
    "empty secret configured": Case({"secrets": [""]}, lambda fields: signed(fields, "")),
    "no token": Case(PATH_TOKEN, dict),
    "wrong token": Case(PATH_TOKEN, dict, "another-word"),
    "half the token": Case(PATH_TOKEN, dict, TOKEN[:9]),
    "token in capitals": Case(PATH_TOKEN, dict, TOKEN.upper()),
    "token beyond ASCII": Case(PATH_TOKEN, dict, "é" * len(TOKEN)),
    "token as a field": Case(PATH_TOKEN, lambda fields: fields | {"token": TOKEN}),
    "signature instead of the token": Case(PATH_TOKEN, signed),
    "both asked, token alone": Case(BOTH, dict, TOKEN),
    "both asked, signature alone": Case(BOTH, signed),
    "both asked, wrong token": Case(BOTH, signed, "another-word"),
    "both asked, wrong signature": Case(BOTH, lambda fields: fields | {"sig": "0" * 64}, TOKEN),
    "nothing configured": Case(NOTHING, dict),
    "nothing configured, signed with nothing": Case(NOTHING, lambda f: signed(f, "")),
    "nothing configured, a token": Case(NOTHING, dict, TOKEN),
}

PROOFS = {
    "signature": Case(SIGNATURE, signed),
    "signature in capitals": Case(
        SIGNATURE, lambda fields: fields | {"sig": signed(fields)["sig"].upper()}
    ),
    "first secret in rotation": Case(ROTATION, signed),
    "second secret in rotation": Case(ROTATION, lambda fields: signed(fields, NEXT_SECRET)),
    "signature, no timestamp": Case(SIGNATURE, lambda f: signed(without(f, "timestamp"))),
    "signature, at a path of old": Case(SIGNATURE, signed, "a-token-given-up"),
    "token": Case(PATH_TOKEN, dict, TOKEN),
    "token, and a signature nobody asked for": Case(PATH_TOKEN, signed, TOKEN),
    "both": Case(BOTH, signed, TOKEN),
} | {
    f"signature by {method}": Case(
        {"secrets": [SECRET], "method": method}, functools.partial(signed, method=method)
    )
    for method in METHODS
}


@pytest.mark.parametrize("case", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_request_is_refused_before_any_query(
    webhook, send, configure, django_assert_num_queries, case
):
    configure(**case.config)

    with django_assert_num_queries(0):
        response = send(webhook, case.make(webhook.fields), token=case.token)

    assert response.status_code == 401
    assert is_silent(response)


def test_debug_mode_accepts_no_unsigned_request(webhook, send, configure, settings):
    configure()
    settings.DEBUG = True

    assert send(webhook, webhook.fields).status_code == 401


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", PROOFS.values(), ids=PROOFS)
def test_a_proven_request_is_stored(webhook, send, configure, case, way):
    configure(**case.config)

    response = send(webhook, case.make(webhook.fields), token=case.token, way=way)

    assert response.status_code == 200
    assert is_silent(response)
    assert webhook.stored() == 1


def test_the_three_ways_of_sending_are_one_message(webhook, send):
    for way in WAYS:
        assert send(webhook, signed(webhook.fields), way=way).status_code == 200

    assert webhook.stored() == 1


def test_a_replay_inside_the_window_changes_nothing(webhook, send):
    for hours in (0, 1, 24):
        response = send(webhook, signed(webhook.fields), after=timedelta(hours=hours))
        assert response.status_code == 200

    assert webhook.stored() == 1


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 401)])
def test_a_signature_is_good_for_as_long_as_vonage_repeats_it(webhook, send, beyond, status):
    after = webhook.max_age + timedelta(seconds=beyond)

    assert send(webhook, signed(webhook.fields), after=after).status_code == status
    assert webhook.stored() == (status == 200)


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 401)])
def test_a_signature_from_the_future_is_good_for_five_minutes(webhook, send, beyond, status):
    after = -timedelta(minutes=5, seconds=beyond)

    assert send(webhook, signed(webhook.fields), after=after).status_code == status
    assert webhook.stored() == (status == 200)


@pytest.mark.parametrize(
    "timestamp",
    ["", "soon", "-1", "1e9", " 1714996800", "9" * 4000, "٣"],
    ids=["empty", "word", "negative", "float", "space", "endless", "Arabic digit"],
)
def test_a_signed_timestamp_that_is_no_moment_is_refused(webhook, send, timestamp):
    fields = webhook.fields | {"timestamp": timestamp}

    assert send(webhook, signed(fields)).status_code == 401


def test_the_token_alone_does_not_ask_how_old_a_request_is(webhook, send, configure):
    configure(token=TOKEN)
    response = send(webhook, webhook.fields, token=TOKEN, after=timedelta(days=30))

    assert response.status_code == 200
