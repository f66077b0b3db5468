"""Request bytes become fields or a refusal."""

import gzip
import io
import json

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from bookings.web.webhooks.payloads import read_fields
from tests.unit.webhook_requests import (
    FORM,
    JSON,
    PAYLOADS,
    URL,
    as_form,
    as_json,
    as_plain_json,
    as_query,
    body_request,
    query_request,
    recorded,
    refusal,
)

LIMIT = 16 * 1024


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


def test_undecoded_chunked_body_is_not_taken_for_a_bare_request():
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
def test_body_of_another_length_than_declared_is_refused_with_400(extra):
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


# Anything at all

KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,63}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
FIELDS = st.dictionaries(KEYS, TEXTS, min_size=1, max_size=8)


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
