"""Vonage's signatures, checked against its own published vector and against computed ones."""

import pytest

from bookings.gateways.signature import METHODS, is_signed, sign

SECRET = "AbCdEf0123456789"

REPLY = {
    "api-key": "abcd1234",
    "keyword": "2",
    "message-timestamp": "2024-05-06 12:00:00",
    "messageId": "0A0000000123ABCD1",
    "msisdn": "447700900001",
    "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    "text": "2",
    "timestamp": "1714996800",
    "to": "447700900000",
    "type": "text",
}
ODD_REPLY = REPLY | {"text": "2 & gate=7 + café €", "type": "unicode"}
PART = REPLY | {
    "concat": "true",
    "concat-part": "2",
    "concat-ref": "119",
    "concat-total": "2",
    "keyword": "ORE",
    "message-timestamp": "2024-05-06 12:00:01",
    "messageId": "0A0000000123ABCD2",
    "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ac",
    "text": "ore than one part",
    "timestamp": "1714996801",
}
RECEIPT = {
    "api-key": "abcd1234",
    "client-ref": "ntf-42",
    "err-code": "0",
    "message-timestamp": "2024-05-06 12:05:00",
    "messageId": "0B00000127FDBC63",
    "msisdn": "447700900001",
    "network-code": "23410",
    "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ad",
    "price": "0.03330000",
    "scts": "2405061205",
    "status": "delivered",
    "timestamp": "1714997100",
    "to": "447700900000",
}
# Published by Vonage: test/vonage/signature_test.rb of Vonage/vonage-ruby-sdk.
PUBLISHED = {
    "message-timestamp": "2013-11-21 15:27:30",
    "messageId": "020000001B0FE827",
    "msisdn": "14843472194",
    "text": "Test again",
    "timestamp": "1385047698",
    "to": "13239877404",
    "type": "text",
}

VECTORS = {
    "plain reply": (
        REPLY,
        SECRET,
        {
            "md5hash": "d6cdd7b67b4d6f6f4898627a45cc40a2",
            "md5": "62b7148af78f701fca2b2d703ca5d1cc",
            "sha1": "572d2732444ef8113b3811bab074c117e128788a",
            "sha256": "48b73322c0ccfa7031e4d95e861f8a3b267b842137d983710e8e959d3989c477",
            "sha512": "f95b694a0cf31f5e02b2c8e50c073fa68a76305c7bad72aad470ee4c22b2c2b7"
            "f163db5b663859b45e93448e28ccf4df60e4ad388bef1aa3cc3d9858443cc23c",
        },
    ),
    "separators and letters beyond ASCII": (
        ODD_REPLY,
        SECRET,
        {
            "md5hash": "c36a8573aeba43ee773459da57ed19d6",
            "md5": "113adf072317f6653ef4a802411112ea",
            "sha1": "2be459fce005f30018e4a0cb25154419075b28c0",
            "sha256": "cd935e2245593e1692cf77cb10e548c836feacc83e1350f982656b31bbb1bd6e",
            "sha512": "6c66de6564b8788a048152bf21efd244b6a182bcde60056140c9de1313bc3162"
            "cf422dfb87bfab6caccfa296ca87606e7826a8892b41716ae5606f7dfd17b55d",
        },
    ),
    "part 2 of 2": (
        PART,
        SECRET,
        {
            "md5hash": "5e7576bd90e38436fbc638f66c67c750",
            "md5": "ed76c396f7663ff1abeb218396b4929a",
            "sha1": "f986be327d3a42d26daf46ef2dcd582e01425176",
            "sha256": "4d56666c1df5faf7fe7200b50d73d545916dcd483346f0bba4f4aeb8ba459c3a",
            "sha512": "e13a8782f6a485affc385aa9fc3c7392b055a28b4f6f1c4a1cacb1ba7bf26f26"
            "35da0925970e0cfd4ab019c64c52133b52789a9a87afaf534fbff3544cdf0e79",
        },
    ),
    "delivery receipt": (
        RECEIPT,
        SECRET,
        {
            "md5hash": "706513a45f335129e0da6b4ed63fbb0b",
            "md5": "8eb1ddb8b156690257b6bf537597088f",
            "sha1": "e96b45cef54479522f2a138585130a3e6a7b790a",
            "sha256": "9b5611220243670c96869e3bae9c7c71ed98164832add5f295b50b3e50eff5b7",
            "sha512": "9e17a2a018c3388b0c05b243e0c21d4774edd94e8059d93cf3050fae0cba2ad5"
            "0861b05eed58185be728c6ea8b4f1b3eaada3b3c5ef9b9465004f06cb58bf957",
        },
    ),
    "Vonage's own": (
        PUBLISHED,
        "my_secret_key_for_testing",
        {
            "md5hash": "d2e7b1dc968737c5998ad624e02f90b7",
            "md5": "ddebd46008c2d4e93cce578a332a52d5",
            "sha1": "27d0d05c2876c7cb1720dbcdba4d492e1e55c09a",
            "sha256": "ddb8397c2b90aac7f3882d306475c9a5058c92322eef43c92b298b6e0fc0d330",
            "sha512": "e0d3c650f8c9d1a5c174d10dddbfb003e561f59b265616208b0487c5d819481c"
            "d3c311d59cf6165ecd1139622d5ba3a256c0d763ac4a9ad9144b5a426b94fe82",
        },
    ),
}


def signed(fields, secret=SECRET, method="sha256"):
    return fields | {"sig": sign(fields, secret, method)}


def test_the_methods_are_those_of_the_vectors():
    assert all(set(METHODS) == set(signatures) for _, _, signatures in VECTORS.values())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_a_known_message_has_its_known_signature(vector, method):
    fields, secret, signatures = vector
    assert sign(fields, secret, method) == signatures[method]
    assert is_signed(fields | {"sig": signatures[method]}, [secret], method)
    assert is_signed(fields | {"sig": signatures[method].upper()}, [secret], method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", REPLY)
def test_a_changed_or_missing_field_breaks_the_signature(name, method):
    message = signed(REPLY, method=method)
    without = {key: value for key, value in message.items() if key != name}
    assert is_signed(message, [SECRET], method)
    assert not is_signed(message | {name: message[name] + "0"}, [SECRET], method)
    assert not is_signed(without, [SECRET], method)


def test_an_added_field_breaks_the_signature():
    assert not is_signed(signed(REPLY) | {"concat": "true"}, [SECRET], "sha256")


def test_two_signed_fields_cannot_be_passed_off_as_one():
    fields = {name: value for name, value in REPLY.items() if name not in {"keyword", "text"}}
    merged = fields | {"keyword=2&message-timestamp": REPLY["message-timestamp"], "text": "2"}
    del merged["message-timestamp"]
    assert not is_signed(merged | {"sig": sign(REPLY, SECRET, "sha256")}, [SECRET], "sha256")


@pytest.mark.parametrize("method", METHODS)
def test_another_secret_or_another_method_breaks_the_signature(method):
    assert not is_signed(signed(REPLY, "another-secret-16", method), [SECRET], method)
    for other in set(METHODS) - {method}:
        assert not is_signed(signed(REPLY, method=method), [SECRET], other)


@pytest.mark.parametrize("secret", ["old-secret", "new-secret"])
def test_while_secrets_are_changed_both_are_good(secret):
    assert is_signed(signed(REPLY, secret), ["old-secret", "new-secret"], "sha256")


@pytest.mark.parametrize("secrets", [[], [""], ["", ""]], ids=["none", "empty", "only empty ones"])
def test_without_a_secret_nothing_is_signed(secrets):
    assert not is_signed(signed(REPLY, ""), secrets, "sha256")
    assert not is_signed(REPLY, secrets, "sha256")


@pytest.mark.parametrize("blank", ["", " "], ids=["empty", "space"])
def test_blank_fields_may_be_signed_or_left_out_by_vonage(blank):
    fields = REPLY | {"text": blank}
    written = {name: value for name, value in REPLY.items() if name != "text"}
    assert is_signed(signed(fields), [SECRET], "sha256")
    assert is_signed(fields | {"sig": sign(written, SECRET, "sha256")}, [SECRET], "sha256")


HOSTILE = {
    "empty": "",
    "blank": " ",
    "not ASCII": "ü" * 64,
    "surrogate": "\ud83d",
    "NUL": "\0" * 64,
    "too short": "48b7",
    "very long": "a" * 1_000_000,
    "question marks": "?" * 64,
    "not hex": "z" * 64,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sig", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_signature_is_false_and_no_error(sig, method):
    assert is_signed(REPLY | {"sig": sig}, [SECRET], method) is False


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_hostile_fields_are_no_error(value):
    fields = REPLY | {"text": value, value: "2"}
    assert is_signed(fields | {"sig": "0" * 64}, [SECRET], "sha256") is False
    assert is_signed(signed(fields), [SECRET], "sha256") is True


def test_a_message_without_any_field_or_signature_is_not_signed():
    assert not is_signed({}, [SECRET], "sha256")
    assert not is_signed(REPLY, [SECRET], "sha256")


def test_unknown_method_raises_an_error():
    with pytest.raises(ValueError, match="sha3_256"):
        sign(REPLY, SECRET, "sha3_256")
