"""The verdict on every answer of Vonage's, and on missing answers."""

import json
from datetime import timedelta

import pytest

from bookings.gateways import PartResult, Verdict
from bookings.gateways.vonage_answers import Answer, NoAnswer, classify

VERDICTS = {
    Verdict.ACCEPTED: {0},
    Verdict.THROTTLED: {1, 10},
    Verdict.ACCOUNT: {4, 8, 9, 11, 14, 32},
    Verdict.PROVIDER_ERROR: {5},
    Verdict.REFUSED: {2, 3, 6, 7, 12, 15, 22, 23, 29, 33},
}
HTTP_VERDICTS = {
    Verdict.THROTTLED: {429},
    Verdict.ACCOUNT: {401, 403},
    Verdict.PROVIDER_ERROR: {500, 503},
    Verdict.REFUSED: {400, 413, 422},
}
THROTTLED = "Throughput Rate Exceeded - please wait [ 250 ] and retry"
PROBLEM = {"type": "https://developer.vonage.com/api-errors", "title": "Oh", "detail": "no"}


def verdict_of(code, table):
    return next((verdict for verdict, codes in table.items() if code in codes), Verdict.UNKNOWN)


def element(status, **more):
    taken = {"message-id": "0C01", "remaining-balance": "15.5", "message-price": "0.033"}
    return (
        {"status": status} | (taken if status == "0" else {"error-text": "no"})
        | {name.replace("_", "-"): value for name, value in more.items()}
    )  # fmt: skip


def say(*elements, count=None, http_status=200, retry_after=""):
    said = {"message-count": str(count or len(elements)), "messages": list(elements)}
    return answer(http_status, json.dumps(said), retry_after)


def answer(http_status, body="", retry_after=""):
    return classify(Answer(http_status=http_status, body=body.encode(), retry_after=retry_after))


@pytest.mark.parametrize("status", range(100))
def test_each_status_has_its_verdict(status):
    result = say(element(str(status)))
    assert result.verdict is verdict_of(status, VERDICTS)
    assert result.code == str(status)
    assert (result.reason == "") is (status == 0)


@pytest.mark.parametrize("status", range(100))
def test_parts_that_fail_alike_have_the_verdict_of_one(status):
    one, several = say(element(str(status))), say(*[element(str(status))] * 3)
    assert (one.verdict, one.reason, one.code) == (several.verdict, several.reason, several.code)


@pytest.mark.parametrize("status", [str(status) for status in range(1, 100)])
def test_a_text_of_which_one_part_was_taken_is_partial(status):
    for elements in ([element("0"), element(status)], [element(status), element("0")]):
        result = say(*elements)
        assert result.verdict is Verdict.PARTIAL
        assert result.code == status
        assert [part.status for part in result.parts] == [part["status"] for part in elements]


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ("1 6", Verdict.REFUSED),
        ("6 1", Verdict.REFUSED),
        ("6 9", Verdict.ACCOUNT),
        ("5 1", Verdict.THROTTLED),
        ("9 77", Verdict.UNKNOWN),
    ],
)
def test_gravest_verdict_of_failed_parts_decides(statuses, verdict):
    assert say(*map(element, statuses.split())).verdict is verdict


def test_accepted_text_keeps_vonages_fields_of_each_part():
    result = say(
        element("0", network="23410"), element("0", message_id="0C02", remaining_balance="15.4")
    )
    assert result.verdict is Verdict.ACCEPTED
    assert result.parts == (
        PartResult(message_id="0C01", status="0", price="0.033", network="23410"),
        PartResult(message_id="0C02", status="0", price="0.033"),
    )
    assert result.balance == "15.4"
    assert result.retry_after is None


def test_numbers_in_the_place_of_strings_are_read_as_well():
    result = answer(200, '{"message-count": 1, "messages": [{"status": 0, "message-id": 12}]}')
    assert (result.verdict, result.parts[0].message_id) == (Verdict.ACCEPTED, "12")


@pytest.mark.parametrize("status", ["0", "1", "6"])
def test_parts_that_vonage_is_silent_about_leave_the_text_unknown(status):
    result = say(element(status), count=2)
    assert result.verdict is Verdict.UNKNOWN
    assert len(result.parts) == 1


def test_taken_and_refused_parts_are_partial_even_if_one_is_left_out():
    assert say(element("0"), element("6"), count=3).verdict is Verdict.PARTIAL


@pytest.mark.parametrize("count", ["", "many", "0", "-1", "9" * 5000, None, "٣"])
def test_a_senseless_count_is_passed_over(count):
    body = json.dumps({"message-count": count, "messages": [element("0")]})
    assert answer(200, body).verdict is Verdict.ACCEPTED


UNREADABLE = {
    "empty": "",
    "HTML": "<html>ok</html>",
    "cut off": '{"message-count": "1", "messages": [{"sta',
    "another's JSON": '{"message": "Internal server error"}',
    "list": "[]",
    "null": "null",
    "number too long": "9" * 5000,
    "too deep": "[" * 200_000,
    "no messages": '{"message-count": "1"}',
    "empty messages": '{"messages": []}',
    "messages of no kind": '{"messages": "0"}',
    "an element of no kind": '{"messages": ["0"]}',
    "no status": '{"messages": [{}]}',
    "status of no kind": '{"messages": [{"status": {"0": 0}}]}',
    "status true": '{"messages": [{"status": true}]}',
    "status 00": '{"messages": [{"status": "00"}]}',
    "problem": json.dumps(PROBLEM),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("http_status", [200, 202, 502, 504])
def test_an_answer_that_says_nothing_certain_is_unknown(http_status, body):
    result = answer(http_status, body)
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason


def test_bytes_that_are_no_text_are_unknown():
    assert classify(Answer(http_status=200, body=b"\xff\xfe\xfa")).verdict is Verdict.UNKNOWN


def test_odd_characters_in_a_field_are_made_fit_for_a_database():
    body = '{"messages": [{"status": "6", "error-text": "a\\u0000b\\ud83d%s"}]}' % ("x" * 1000)
    text = answer(200, body).parts[0].error_text
    assert text.startswith("ab?x")
    assert len(text) <= 200


@pytest.mark.parametrize("http_status", [*range(100, 200), *range(300, 600)])
def test_each_http_status_with_vonages_words_has_its_verdict(http_status):
    result = answer(http_status, json.dumps(PROBLEM))
    assert result.verdict is verdict_of(http_status, HTTP_VERDICTS)
    assert result.code == str(http_status)
    assert result.reason


@pytest.mark.parametrize("http_status", [500, 503])
@pytest.mark.parametrize("body", ["", "<html>", '{"message": "Service Unavailable"}'])
def test_a_server_error_without_vonages_words_is_unknown(http_status, body):
    assert answer(http_status, body).verdict is Verdict.UNKNOWN


def test_the_older_error_words_are_vonages_too():
    body = '{"error-code": "500", "error-code-label": "internal error"}'
    assert answer(500, body).verdict is Verdict.PROVIDER_ERROR


@pytest.mark.parametrize("http_status", [302, 400, 401, 429, 500, 503])
def test_a_part_taken_under_an_error_is_unknown_and_kept(http_status):
    result = say(element("0"), http_status=http_status)
    assert result.verdict is Verdict.UNKNOWN
    assert result.parts[0].message_id == "0C01"


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("2", 2),
        ("0", 0),
        ("999999999", 3600),
        ("9" * 30, None),
        ("-1", None),
        ("٣", None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
@pytest.mark.parametrize("http_status", [429, 500, 503])
def test_retry_after_is_obeyed_up_to_an_hour(http_status, retry_after, seconds):
    wait = answer(http_status, json.dumps(PROBLEM), retry_after).retry_after
    assert wait == (None if seconds is None else timedelta(seconds=seconds))


def test_the_wait_in_the_words_of_a_throttled_part_is_obeyed():
    result = say(element("1", error_text=THROTTLED), element("1", error_text="back-off"))
    assert result.retry_after == timedelta(milliseconds=250)


@pytest.mark.parametrize("http_status", [400, 401, 302, 504])
def test_only_retryable_verdicts_name_a_wait(http_status):
    assert answer(http_status, json.dumps(PROBLEM), "2").retry_after is None


@pytest.mark.parametrize(
    ("is_written", "verdict"), [(False, Verdict.NOT_SENT), (True, Verdict.UNKNOWN)]
)
@pytest.mark.parametrize("error", ["ConnectTimeout", "ReadTimeout", "SSLError", "ConnectionError"])
def test_without_an_answer_the_first_byte_decides(error, is_written, verdict):
    result = classify(NoAnswer(error=error, is_written=is_written))
    assert (result.verdict, result.code, result.parts) == (verdict, error, ())
    assert result.reason
