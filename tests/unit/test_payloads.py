"""Bytes from the wire become frozen values, or a refusal: never anything else."""

import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from bookings.gateways import InboundSMS, MessagePart, Receipt
from bookings.webhooks.payloads import (
    RefusedError,
    parse_inbound,
    parse_receipt,
    read_fields,
)

PAYLOADS = Path(__file__).parent.parent / "payloads" / "vonage"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
URL = "/webhooks/inbound-sms"
LIMIT = 16 * 1024


def recorded(name) -> dict[str, str]:
    fields: dict[str, str] = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return fields


def query_request(query, **extra):
    return RequestFactory().get(URL, QUERY_STRING=query, **extra)


def body_request(body, content_type=FORM, **extra):
    return RequestFactory().generic("POST", URL, body, content_type, **extra)


def as_query(fields):
    return query_request(urlencode(fields))


def as_form(fields):
    return body_request(urlencode(fields).encode())


def as_json(fields):
    return body_request(json.dumps(fields).encode(), JSON)


def as_plain_json(fields):
    return body_request(json.dumps(fields, ensure_ascii=False).encode(), JSON)


def refusal(request):
    """The status it is refused with, or None."""
    try:
        read_fields(request)
    except RefusedError as error:
        return error.status
    return None


# Reading


@pytest.mark.parametrize("wrap", [as_query, as_form, as_json, as_plain_json])
@pytest.mark.parametrize("name", [path.stem for path in sorted(PAYLOADS.glob("*.json"))])
def test_query_form_and_json_say_the_same(name, wrap):
    assert read_fields(wrap(recorded(name))) == recorded(name)


@pytest.mark.parametrize(
    "request_",
    [
        query_request(""),
        body_request(b""),
        body_request(b"", CONTENT_TYPE=JSON),
        body_request(b"", CONTENT_TYPE="text/plain"),
        body_request(b"{}", JSON),
        body_request(b"--x--\r\n", "multipart/form-data; boundary=x"),
        RequestFactory().head(URL),
    ],
    ids=["GET", "form", "JSON", "whatever", "empty object", "empty multipart", "HEAD"],
)
def test_a_bare_request_has_no_fields(request_):
    assert read_fields(request_) == {}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json;charset=UTF-8", b'{"text": "caf\xc3\xa9"}'),
        ('application/json; charset="utf-8"', b'{"text": "caf\\u00e9"}'),
        ("Application/JSON; charset=utf8; v=1", b'{"text": "caf\xc3\xa9"}'),
        (f"{FORM}; charset=utf-8", b"text=caf%C3%A9"),
        (FORM, b"text=caf\xc3\xa9"),
    ],
)
def test_the_media_type_counts_and_not_the_whole_header(content_type, body):
    assert read_fields(body_request(body, content_type)) == {"text": "café"}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"text": 2}', "2"),
        (b'{"text": -9223372036854775808}', "-9223372036854775808"),
        (b'{"text": "a\\u0000b"}', "a\x00b"),
        (b'{"text": "\\ud83d"}', "\ud83d"),
        (b'{"text": "\\ud83d\\ude00"}', "😀"),
        (b'{"text": ""}', ""),
        (b'{"text": "1\\\\"}', "1\\"),
    ],
    ids=["number", "64 bits", "NUL", "half an emoji", "emoji", "empty", "trailing backslash"],
)
def test_json_values_are_decoded_once_and_left_as_they_came(body, value):
    assert read_fields(body_request(body, JSON)) == {"text": value}


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("text=1%002", "1\x002"),
        ("text=a%26messageId%3Db", "a&messageId=b"),
        ("text=1%2B1+%2525", "1+1 %25"),
        ("text=", ""),
        ("text=a=b", "a=b"),
        ("text=%F0%9F%98%80", "😀"),
        ("text=é".encode().decode("latin-1"), "é"),
    ],
)
def test_queries_and_forms_are_decoded_once(query, value):
    assert read_fields(query_request(query)) == {"text": value}
    assert read_fields(body_request(query.encode("latin-1"))) == {"text": value}


HOSTILE_JSON = {
    "list": b"[]",
    "word": b'"text"',
    "number": b"7",
    "null": b"null",
    "nothing but space": b"  ",
    "cut short": b'{"text": "1"',
    "two objects": b"{}{}",
    "comment": b'{"text": "1"} // hello',
    "value true": b'{"text": true}',
    "value float": b'{"text": 1.5}',
    "value 1e400": b'{"text": 1e400}',
    "value NaN": b'{"text": NaN}',
    "value -Infinity": b'{"text": -Infinity}',
    "value null": b'{"text": null}',
    "value list": b'{"text": ["1"]}',
    "value empty list": b'{"text": []}',
    "value object": b'{"text": {"a": "b"}}',
    "value empty object": b'{"text": {}}',
    "65 bits": b'{"text": 9223372036854775808}',
    "10**30": b'{"text": 1000000000000000000000000000000}',
    "5,000 digits": b'{"text": ' + b"9" * 5000 + b"}",
    "deep lists": b"[" * 16_000,
    "deep objects": b'{"a":' * 3_000,
    "repeated key": b'{"text": "1", "text": "1"}',
    "repeated key by escape": b'{"text": "1", "te\\u0078t": "2"}',
    "invalid UTF-8": b'{"text": "\xff"}',
    "overlong NUL": b'{"text": "\xc0\x80"}',
    "surrogate in UTF-8": b'{"text": "\xed\xa0\xbd"}',
    "raw NUL": b'{"text": "\x00"}',
    "BOM": b'\xef\xbb\xbf{"text": "1"}',
    "UTF-16": '{"text": "1"}'.encode("utf-16"),
    "UTF-16 without BOM": '{"text": "1"}'.encode("utf-16-le"),
    "UTF-32": '{"text": "1"}'.encode("utf-32"),
    "gzip": gzip.compress(b'{"text": "1"}'),
    "41 fields": json.dumps({f"k{n}": "" for n in range(41)}).encode(),
    "a form": b"text=1",
}


@pytest.mark.parametrize("body", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_hostile_json_is_refused_with_400(body):
    assert refusal(body_request(body, JSON)) == 400


HOSTILE_FORMS = {
    "repeated key": b"text=1&text=1",
    "repeated key by escape": b"text=1&te%78t=2",
    "broken escape": b"text=%zz",
    "cut escape": b"text=1%",
    "escape in a key": b"te%xt=1",
    "invalid UTF-8": b"text=%ff",
    "invalid raw UTF-8": b"text=\xff",
    "UTF-16": "text=1".encode("utf-16"),
    "BOM": b"\xef\xbb\xbftext=1",
    "no equals sign": b"text",
    "empty pair": b"text=1&&to=2",
    "no key": b"=1",
    "41 fields": b"&".join(b"k%d=" % n for n in range(41)),
    "JSON": b'{"text": "1"}',
}


@pytest.mark.parametrize("raw", HOSTILE_FORMS.values(), ids=HOSTILE_FORMS)
def test_hostile_forms_and_queries_are_refused_with_400(raw):
    assert refusal(body_request(raw)) == 400
    assert refusal(query_request(raw.decode("latin-1"))) == 400


ODD_KEYS = {
    "smuggled field": "a=1&messageId",
    "trailing newline": "text\n",
    "NUL": "te\x00xt",
    "empty": "",
    "digit first": "1text",
    "space": "te xt",
    "Cyrillic e": "t\u0435xt",
    "brackets": "text[]",
    "65 characters": "k" * 65,
    "half an emoji": "k\ud83d",
}


@pytest.mark.parametrize("key", ODD_KEYS.values(), ids=ODD_KEYS)
def test_odd_keys_are_refused(key):
    assert refusal(as_json({key: "1"})) == 400
    if key.isprintable():
        assert refusal(as_form({key: "1"})) == 400
        assert refusal(as_query({key: "1"})) == 400


def test_the_longest_key_and_the_fortieth_field_are_taken():
    fields = {f"k{n}": "" for n in range(39)} | {"K" * 64: "1"}

    assert read_fields(as_form(fields)) == read_fields(as_json(fields)) == fields


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/xml",
        "application/jsonx",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; charset=",
        "application/json; charset=no-such-thing",
        f"{FORM}; charset=iso-8859-1",
        ";",
    ],
)
def test_other_content_types_are_refused_with_415(content_type):
    assert refusal(body_request(b'{"text": "1"}', content_type)) == 415


def test_a_body_without_a_type_is_refused():
    assert refusal(body_request(b"text=1", "")) == 415


def multipart(*pairs):
    parts = (f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in pairs)
    return body_request(("".join(parts) + "--x--\r\n").encode(), "multipart/form-data; boundary=x")


def test_a_multipart_form_is_read_like_any_other():
    assert read_fields(multipart(("text", "2 café €"), ("to", "1"))) == {
        "text": "2 café €",
        "to": "1",
    }


@pytest.mark.parametrize(
    "request_",
    [
        multipart(("text", "1"), ("text", "2")),
        multipart(("a=1&messageId", "1")),
        body_request(b"--x\r\n", "multipart/form-data; boundary=x"),
        body_request(b"nothing of the kind", "multipart/form-data; boundary=x"),
        body_request(b"--x--", "multipart/form-data"),
    ],
    ids=["repeated key", "odd key", "cut short", "no multipart", "no boundary"],
)
def test_an_odd_multipart_form_is_refused(request_):
    assert refusal(request_) == 400


def test_sixteen_kilobytes_are_taken_and_one_byte_more_is_not():
    text = "x" * (LIMIT - len("text="))

    assert read_fields(body_request(f"text={text}".encode())) == {"text": text}
    assert read_fields(query_request(f"text={text}")) == {"text": text}
    assert refusal(body_request(f"text={text}x".encode())) == 413
    assert refusal(query_request(f"text={text}x")) == 413


def test_a_body_that_is_declared_too_large_is_not_read():
    request = body_request(b"x" * 200_000)

    assert refusal(request) == 413
    assert len(request.read()) == 200_000


class EndlessStream(io.RawIOBase):
    """A body that never ends, and counts what was taken of it."""

    taken = 0

    def read(self, size=-1):
        assert size >= 0, "read without a limit"
        self.taken += size
        return b"x" * size


def chunked_request(stream, *, terminated=True):
    return RequestFactory().generic(
        "POST",
        URL,
        CONTENT_TYPE=FORM,
        HTTP_TRANSFER_ENCODING="chunked",
        **{"wsgi.input": stream, "wsgi.input_terminated": terminated},
    )


def test_a_chunked_body_is_read_as_any_other():
    assert read_fields(chunked_request(io.BytesIO(b"text=2"))) == {"text": "2"}


def test_a_chunked_body_without_end_is_read_no_further_than_the_limit():
    stream = EndlessStream()

    assert refusal(chunked_request(stream)) == 413
    assert stream.taken == LIMIT + 1


def test_a_chunked_body_that_the_server_leaves_in_chunks_is_not_taken_for_a_bare_request():
    raw = io.BytesIO(b"6\r\ntext=2\r\n0\r\n\r\n")

    assert refusal(chunked_request(raw, terminated=False)) == 411


class BrokenStream(io.RawIOBase):
    def read(self, size=-1):
        raise OSError("client disconnected")


@pytest.mark.parametrize(
    "extra",
    [
        {"wsgi.input": BrokenStream(), "CONTENT_LENGTH": "6"},
        {"wsgi.input": io.BytesIO(b"text=2"), "CONTENT_LENGTH": "7"},
        {"wsgi.input": io.BytesIO(b""), "CONTENT_LENGTH": "6"},
        {"wsgi.input": io.BytesIO(b"text=2"), "CONTENT_LENGTH": "six"},
        {"wsgi.input": io.BytesIO(b"text=2"), "CONTENT_LENGTH": "-6"},
        {"wsgi.input": io.BytesIO(b"text=2"), "CONTENT_LENGTH": "+6"},
        {"wsgi.input": io.BytesIO(b"text=2"), "CONTENT_LENGTH": "0_6"},
        {"wsgi.input": io.BytesIO(b"text=2"), "CONTENT_LENGTH": "6" * 5000},
    ],
    ids=[
        "hangs up",
        "ends early",
        "never comes",
        "no number",
        "negative",
        "plus",
        "underscore",
        "endless",
    ],
)
def test_a_body_that_is_not_what_its_length_says_is_refused_with_400(extra):
    assert refusal(RequestFactory().generic("POST", URL, CONTENT_TYPE=FORM, **extra)) == 400


def test_fields_in_query_and_body_together_are_refused():
    assert refusal(body_request(b"text=2", QUERY_STRING="to=1")) == 400
    assert refusal(body_request(b"{}", JSON, QUERY_STRING="to=1")) == 400


def test_a_query_with_an_empty_post_is_refused_and_not_taken_for_a_bare_request():
    assert refusal(body_request(b"", QUERY_STRING="text=2")) == 400


def test_a_body_with_get_is_refused():
    get = RequestFactory().generic("GET", URL, data=b"text=2", content_type=FORM)

    assert refusal(get) == 400
    assert refusal(query_request("text=2", HTTP_TRANSFER_ENCODING="chunked")) == 400


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
def test_what_a_database_cannot_hold_is_replaced_and_nothing_else(came, kept):
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


def test_a_status_that_nobody_knows_is_kept_as_it_came():
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


def test_what_is_only_shown_of_a_receipt_is_cut_and_kept_whole_in_raw():
    receipt = parse_receipt(recorded("receipt_delivered") | {"price": "9" * 5000})

    assert receipt.price == "9" * 20
    assert receipt.raw["price"] == "9" * 5000


# Anything at all

KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,63}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
FIELDS = st.dictionaries(KEYS, TEXTS, min_size=1, max_size=8)
OUR_KEYS = st.sampled_from(
    [
        *("messageId", "msisdn", "to", "text", "type", "message-timestamp", "timestamp", "sig"),
        *("concat-ref", "concat-total", "concat-part", "status", "client-ref", "price", "scts"),
    ]
)


@given(fields=FIELDS)
def test_fields_survive_every_way_of_sending_them(fields):
    for wrap in (as_query, as_form, as_json, as_plain_json):
        assert read_fields(wrap(fields)) == fields


@given(body=st.binary(max_size=200), content_type=st.sampled_from([FORM, JSON]))
def test_any_bytes_are_read_or_refused(body, content_type):
    assert refusal(body_request(body, content_type)) in {None, 400}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=JSON_VALUES)
def test_any_json_is_read_or_refused(value):
    assert refusal(body_request(json.dumps(value).encode(), JSON)) in {None, 400, 413}


@given(value=st.dictionaries(KEYS, TEXTS | st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_text_and_whole_numbers_survive_json(value):
    fields = read_fields(body_request(json.dumps(value).encode(), JSON))

    assert fields == {key: str(item) for key, item in value.items()}


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
