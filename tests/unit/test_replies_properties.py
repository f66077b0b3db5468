"""Properties of the reader that hold for any text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookings.replies.parser import Choice, NotUnderstood, OptOut, Words, parse_reply
from tests.unit.test_replies import EVERYTHING

DIGITS = st.integers(1, 9)
#: Fullwidth, Arabic, Persian, Devanagari, Bengali, Thai, and two of mathematics.
ZEROS = "\uff10\u0660\u06f0\u0966\u09e6\u0e50\U0001d7ce\U0001d7ec"
NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NEGATIONS = st.sampled_from(["no", "not", "never", "don't", "can't", "nope", "neither", "NOT"])
OPT_OUTS = st.sampled_from(
    ["stop", "STOPALL", "Stop all", "end", "quit", "unsubscribe", "revoke", "opt out", "opt-out"]
)
STRONG_OPT_OUTS = st.sampled_from(["stop", "STOPALL", "unsubscribe", "revoke", "opt out"])
SPACES = st.text(" \t\r\n\xa0\u2003\u200b\u200f\ufeff", max_size=4)
OPENING = st.text(" .,!([{\"'*_#“«", max_size=4)
CLOSING = st.text(" .,!)]}\"'*_#”»-", max_size=4)
POLITENESS = st.sampled_from(
    ["", "please", "Thanks", "hi", "thank you", "OK", "yes", "👍", "sorry"]
)
BEFORE = st.builds("{}{} {}".format, SPACES, POLITENESS, OPENING)
AFTER = st.builds("{} {}{}".format, CLOSING, POLITENESS, SPACES)
# Words around which a careless reader would find a choice.
TEMPTING = (
    "1 2 3 12 0 one two first second 2nd 26th 26 thu thursday tomorrow today nov dec post office "
    "option number please thanks ok is fine works for me i'd like the on of or and after at pm 2pm "
    "not no stop end quit help cancel start ? ! . , - / + : ( ) £ 👍 👎 ٢ ① ½ 1️⃣ \u200b \x00"
)
SNIPPETS = st.sampled_from(TEMPTING.split(" "))
SENTENCES = st.lists(SNIPPETS, max_size=8).map(" ".join)
TEXTS = st.one_of(st.text(max_size=300), st.text("0123456789 .,-", max_size=12), SENTENCES)


def digits_in(text: str) -> list[int]:
    folded = unicodedata.normalize("NFKC", text)
    return [unicodedata.digit(char) for char in folded if unicodedata.digit(char, -1) >= 0]


@given(TEXTS, st.sampled_from(["en", "en-GB", "xx"]))
def test_any_text_is_read_without_an_error_and_says_by_which_rule(text, language):
    reply = parse_reply(text, language)
    assert reply.rule
    reply.matched.encode("utf-8")
    assert "\x00" not in reply.matched


@given(st.text(st.characters(categories=["Cs", "Cc", "Cf", "Mn", "Nd", "No"]), max_size=40))
def test_surrogates_controls_and_marks_are_read_without_an_error(text):
    reply = parse_reply(text)
    assert reply.rule
    reply.matched.encode("utf-8")


@given(TEXTS)
def test_a_choice_is_a_number_from_1_to_9_that_the_text_names(text):
    reply = parse_reply(text)
    if isinstance(reply, Choice):
        assert reply.number in range(1, 10)
        words = reply.matched.casefold().split()
        ordinals = {"first": 1, "second": 2, "1st": 1, "2nd": 2}
        named = {NUMBER_WORDS.index(word) + 1 for word in words if word in NUMBER_WORDS}
        named |= {ordinals[word] for word in words if word in ordinals}
        assert reply.number in named | set(digits_in(text))


@given(TEXTS)
def test_two_different_digits_are_never_a_choice_unless_printed_words_echo_it(text):
    reply = parse_reply(text)
    if isinstance(reply, Choice) and reply.words is None:
        assert len(digits_in(text)) <= 1


@given(
    DIGITS, st.sampled_from([" ", ",", " or ", "/", ".", "-", "\n", " not ", "", "\u200b"]), DIGITS
)
def test_two_digits_are_never_a_choice(first, between, second):
    assert isinstance(parse_reply(f"{first}{between}{second}"), NotUnderstood)


@given(BEFORE, DIGITS, AFTER)
def test_spaces_punctuation_and_politeness_around_a_digit_keep_the_choice(before, number, after):
    assert parse_reply(f"{before}{number}{after}") == Choice(number)


@given(DIGITS, st.sampled_from(ZEROS))
def test_a_digit_of_any_script_is_that_digit(number, zero):
    assert parse_reply(chr(ord(zero) + number)) == Choice(number)


@given(DIGITS)
def test_a_number_word_a_keycap_and_an_option_are_that_digit(number):
    texts = (NUMBER_WORDS[number - 1], f"{number}\ufe0f\u20e3", f"option {number}")
    assert {parse_reply(text) for text in texts} == {Choice(number)}


@given(SENTENCES, NEGATIONS, SENTENCES)
def test_a_text_with_a_negation_is_never_a_choice_or_printed_words(before, negation, after):
    assert not isinstance(parse_reply(f"{before} {negation} {after}"), Choice | Words)


@given(SENTENCES, OPT_OUTS, SENTENCES)
def test_opt_out_word_prevents_a_choice(before, word, after):
    assert not isinstance(parse_reply(f"{before} {word} {after}"), Choice | Words)


@given(TEXTS, STRONG_OPT_OUTS, TEXTS)
def test_a_strong_opt_out_word_opts_out_or_asks_for_a_person(before, word, after):
    reply = parse_reply(f"{before} {word} {after}")
    assert isinstance(reply, OptOut) or (isinstance(reply, NotUnderstood) and reply.wants_out)


@given(OPT_OUTS, OPENING, CLOSING)
def test_opt_out_word_with_any_punctuation_opts_out(word, opening, closing):
    assert parse_reply(f"{opening}{word}{closing}") == OptOut()


@given(st.sampled_from(["@", "£", "$", "+", "-", "~", "=", "<", "/", "&", "%", "?"]), DIGITS)
def test_a_sign_that_changes_a_number_is_never_ignored(sign, number):
    assert isinstance(parse_reply(f"{sign}{number}"), NotUnderstood)
    assert isinstance(parse_reply(f"{sign} {number}"), NotUnderstood)


@given(DIGITS, st.text(st.characters(categories=["Ll", "Lu", "Lo"]), min_size=1, max_size=5))
def test_a_digit_grown_together_with_letters_is_never_a_choice(number, letters):
    assert not isinstance(parse_reply(f"{number}{letters}"), Choice)


@given(SENTENCES)
def test_capital_letters_change_no_reading(text):
    assert parse_reply(text.upper()) == parse_reply(text.lower()) == parse_reply(text)


@pytest.mark.parametrize("text", [text for text in EVERYTHING if text.isascii()], ids=ascii)
def test_capital_letters_change_no_reading_in_the_specification(text):
    assert parse_reply(text.swapcase()) == EVERYTHING[text]


@given(TEXTS)
def test_matched_part_of_a_reply_reads_the_same_again(text):
    reply = parse_reply(text)
    if isinstance(reply, Choice | Words | OptOut):
        assert parse_reply(reply.matched) == reply


@given(st.lists(st.sampled_from(["1", "2", "stop", "thursday", "please ", ""]), max_size=3))
def test_texts_that_share_a_signature_never_mean_two_different_things(pieces):
    """Vonage signs `&`, `=` and `_` alike: of such twins one may be unclear, but none means something else."""
    twins = map(parse_reply, (sign.join(pieces) for sign in "&=_"))
    meant = [reply for reply in twins if not isinstance(reply, NotUnderstood)]
    assert all(reply == meant[0] for reply in meant)
