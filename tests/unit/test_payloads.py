"""Webhook fields become frozen values or a refusal."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookings.gateways import InboundSMS, MessagePart, Receipt
from bookings.web.webhooks.payloads import RefusedError, parse_inbound, parse_receipt
from tests.unit.webhook_requests import recorded

# Customers' messages


def test_a_text_becomes_an_inbound_sms():
    fields = recorded("inbound_text")

    assert parse_inbound(fields | {"sig": "abc"}) == InboundSMS(
        gateway_message_id="0A0000000123ABCD1",
        msisdn="447700900001",
        virtual_number="447700900000",
        text="2",
        sent_at=datetime(2024, 5, 6, 12, tzinfo=UTC),
        raw=fields,
    )


def test_a_unicode_text_keeps_every_character():
    sms = parse_inbound(recorded("inbound_unicode"))

    assert (sms.type, sms.text) == ("unicode", "2 & gate=7 + café €")


def test_a_piece_of_a_long_text_says_which_piece_it_is():
    sms = parse_inbound(recorded("inbound_part_1_of_2"))

    assert sms.part == MessagePart(ref="119", total=2, number=1)


def test_a_binary_message_needs_no_text():
    sms = parse_inbound(recorded("inbound_binary"))

    assert (sms.type, sms.text) == ("binary", "")
    assert sms.raw["data"] == "0011223344556677"


@pytest.mark.parametrize("key", ["messageId", "msisdn", "to", "text"])
def test_an_inbound_sms_without_a_required_field_is_malformed(key):
    fields = recorded("inbound_text")
    del fields[key]

    with pytest.raises(RefusedError, match=key):
        parse_inbound(fields)


@pytest.mark.parametrize("key", ["messageId", "msisdn", "to"])
def test_required_fields_may_be_neither_empty_nor_endless(key):
    for value in ("", "9" * 101):
        with pytest.raises(RefusedError, match=key):
            parse_inbound(recorded("inbound_text") | {key: value})


def test_an_empty_text_is_a_message_all_the_same():
    assert parse_inbound(recorded("inbound_text") | {"text": ""}).text == ""


def test_a_sender_with_letters_is_kept_as_it_came():
    assert parse_inbound(recorded("inbound_text") | {"msisdn": "MTN"}).msisdn == "MTN"


@pytest.mark.parametrize(
    ("came", "kept"),
    [("1\x002", "1\ufffd2"), ("2 \ud83d", "2 \ufffd"), ("\u202e1 👨‍👩‍👧 ٣", "\u202e1 👨‍👩‍👧 ٣")],
    ids=["NUL", "half an emoji", "everything else"],
)
def test_only_characters_that_a_database_cannot_hold_are_replaced(came, kept):
    sms = parse_inbound(recorded("inbound_text") | {"text": came, "x": came})

    assert (sms.text, sms.raw["text"], sms.raw["x"]) == (kept, kept, kept)


@pytest.mark.parametrize(
    ("came", "moment"),
    [
        ("2024-05-06 12:00:00", datetime(2024, 5, 6, 12, tzinfo=UTC)),
        ("2025-10-15T13:51:56.361Z", datetime(2025, 10, 15, 13, 51, 56, 361000, tzinfo=UTC)),
        ("2025-10-15T13:51:56+02:00", datetime(2025, 10, 15, 11, 51, 56, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
        ("2024-02-30 12:00:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("2024-05-06 12:00:00\x00", None),
    ],
)
def test_the_message_timestamp_is_read_in_both_forms(came, moment):
    fields = {"message-timestamp": came}

    assert parse_inbound(recorded("inbound_text") | fields).sent_at == moment
    assert parse_receipt(recorded("receipt_delivered") | fields).sent_at == moment


@pytest.mark.parametrize(
    ("ref", "total", "number"),
    [
        ("", "2", "1"),
        pytest.param("9" * 41, "2", "1", id="endless ref"),
        ("119", "2", "0"),
        ("119", "2", "3"),
        ("119", "1", "1"),
        ("119", "21", "1"),
        ("119", "two", "1"),
        ("119", "2", "-1"),
        ("119", "2", " 1"),
        ("119", "2", "1\n"),
        ("119", "٢", "1"),
        pytest.param("119", "9" * 5000, "1", id="endless total"),
        ("119", "", ""),
    ],
)
def test_a_piece_that_could_never_be_joined_is_a_message_of_its_own(ref, total, number):
    fields = {"concat": "true", "concat-ref": ref, "concat-total": total, "concat-part": number}
    sms = parse_inbound(recorded("inbound_text") | fields)

    assert sms.part is None
    assert sms.raw["concat-ref"] == ref


# Receipts


def test_a_delivery_receipt_becomes_a_receipt():
    fields = recorded("receipt_delivered")

    assert parse_receipt(fields | {"sig": "abc"}) == Receipt(
        gateway_message_id="0B00000127FDBC63",
        client_ref="ntf-42",
        msisdn="447700900001",
        status="delivered",
        err_code="0",
        price="0.03330000",
        network_code="23410",
        scts="2405061205",
        sent_at=datetime(2024, 5, 6, 12, 5, tzinfo=UTC),
        raw=fields,
    )


def test_unknown_status_is_kept_unchanged():
    assert parse_receipt(recorded("receipt_buffered") | {"status": "lost"}).status == "lost"


@pytest.mark.parametrize("key", ["messageId", "client-ref"])
def test_one_of_message_id_and_client_ref_is_enough_for_a_receipt(key):
    fields = recorded("receipt_failed")
    del fields[key]
    receipt = parse_receipt(fields)

    assert [receipt.gateway_message_id, receipt.client_ref].count("") == 1
    assert (receipt.status, receipt.err_code) == ("failed", "9")


@pytest.mark.parametrize(
    "changes",
    [
        {"status": ""},
        {"messageId": "", "client-ref": ""},
        {"messageId": "9" * 101},
        {"client-ref": "9" * 101},
    ],
    ids=["no status", "no reference", "endless message id", "endless client-ref"],
)
def test_a_receipt_that_says_nothing_or_of_nothing_is_malformed(changes):
    with pytest.raises(RefusedError):
        parse_receipt(recorded("receipt_delivered") | changes)


def test_display_fields_of_a_receipt_are_cut_and_kept_whole_in_raw():
    receipt = parse_receipt(recorded("receipt_delivered") | {"price": "9" * 5000})

    assert receipt.price == "9" * 20
    assert receipt.raw["price"] == "9" * 5000


# Anything at all

OUR_KEYS = st.sampled_from(
    [
        *("messageId", "msisdn", "to", "text", "type", "message-timestamp", "timestamp", "sig"),
        *("concat-ref", "concat-total", "concat-part", "status", "client-ref", "price", "scts"),
    ]
)


@given(fields=st.dictionaries(OUR_KEYS, st.text()))
def test_any_fields_are_parsed_to_something_a_database_can_hold_or_refused(fields):
    for parse in (parse_inbound, parse_receipt):
        try:
            value = parse(fields)
        except RefusedError:
            continue
        assert "sig" not in value.raw
        texts = [*value.raw.values(), value.msisdn, getattr(value, "text", "")]
        assert "\x00" not in "".join(texts)
        "".join(texts).encode()  # raises for half a surrogate pair
