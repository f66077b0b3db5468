"""Customers' replies and their readings. The tables are the specification of the reader."""

import time
from typing import Any

import pytest

from bookings.language.tokens import build_table
from bookings.replies.parser import (
    Cancel,
    Choice,
    Help,
    NotUnderstood,
    OptIn,
    OptOut,
    Reply,
    Thanks,
    Words,
    parse_reply,
)

WANTS_OUT = NotUnderstood("opt-out word among others", wants_out=True)
NEGATION = NotUnderstood("negation")
QUESTION = NotUnderstood("question")
SEVERAL = NotUnderstood("several numbers")
NUMBER = NotUnderstood("number that is no choice")
UNKNOWN = NotUnderstood("unknown words")
NO_ANSWER = NotUnderstood("no answer in it")
TOO_LONG = NotUnderstood("too long")

THU_26_NOV = Words(day=26, month=11, weekday=3)
THU_26_NOV_13_17 = Words(day=26, month=11, weekday=3, window="13:00-17:00")
TOMORROW_TUE_24_NOV = Words(day=24, month=11, weekday=1, relative="tomorrow")

CHOICES: dict[str, Reply] = {
    # one digit, with what surrounds it
    "1": Choice(1),
    "9": Choice(9),
    "1.": Choice(1),
    " (2) ": Choice(2),
    "[2]": Choice(2),
    '"2"': Choice(2),
    "“2”": Choice(2),
    "*2*": Choice(2),
    "2!!": Choice(2),
    "2,": Choice(2),
    "2...": Choice(2),
    "2" + "." * 159: Choice(2),  # the longest that is read
    "#1": Choice(1),
    "2#": Choice(2),
    "2 :)": Choice(2),
    "\n2\r\n": Choice(2),
    "2\x00": Choice(2),
    # digits of any script
    "\uff11": Choice(1),
    "٢": Choice(2),
    "۲": Choice(2),
    "३": Choice(3),
    "\U0001d7d0": Choice(2),
    "①": Choice(1),
    "➁": Choice(2),
    "❸": Choice(3),
    "⑵": Choice(2),
    "²": Choice(2),
    "1️⃣": Choice(1),
    "1⃣": Choice(1),
    "\u200f2\u200f": Choice(2),
    "\ufeff2": Choice(2),
    "\u200b2\u200d": Choice(2),
    # politeness
    "2 please": Choice(2),
    "pls 2": Choice(2),
    "2, thanks!": Choice(2),
    "2 - thanks": Choice(2),
    "2-": Choice(2),
    "Hi, 2 please. Thank you very much": Choice(2),
    "ok 2": Choice(2),
    "yes 2": Choice(2),
    "2 👍🏽": Choice(2),
    "2 thanks xx": Choice(2),
    "sorry, 3": Choice(3),
    "2\n\nSent from my iPhone": Choice(2),
    # with the noun, in a phrase, in words
    "option 3": Choice(3),
    "OPTION 3": Choice(3),
    "option3": Choice(3),
    "option: 3": Choice(3),
    "option number 2": Choice(2),
    "number 2": Choice(2),
    "slot 2 please": Choice(2),
    "I'd like 2 please": Choice(2),
    "I\u2019d like option 2": Choice(2),
    "I'll take 2": Choice(2),
    "can I have 2 please": Choice(2),
    "2 is fine": Choice(2),
    "2 works for me, thanks": Choice(2),
    "two": Choice(2),
    "TWO!": Choice(2),
    "one please": Choice(1),
    "option one": Choice(1),
    "number two": Choice(2),
    "the second one": Choice(2),
    "2nd option": Choice(2),
    "the first option please": Choice(1),
    # an option echoed as it was printed
    "2 (Thu 26 Nov)": Choice(2, words=THU_26_NOV),
    "2 thu 26 nov": Choice(2, words=THU_26_NOV),
    "2 - Thu 26 Nov": Choice(2, words=THU_26_NOV),
    "option 2: Thursday 26th November": Choice(2, words=THU_26_NOV),
    "1 (tomorrow Tue 24 Nov)": Choice(1, words=TOMORROW_TUE_24_NOV),
    "1 tomorrow": Choice(1, words=Words(relative="tomorrow")),
    "2 thursday": Choice(2, words=Words(weekday=3)),
    "3 (post office)": Choice(3, words=Words(place="post_office")),
    "2 Wed 2 Dec": Choice(2, words=Words(day=2, month=12, weekday=2)),
    "2 (Thu 26 Nov 13:00-17:00)": Choice(2, words=THU_26_NOV_13_17),
}

PRINTED_WORDS: dict[str, Reply] = {
    "thursday": Words(weekday=3),
    "Thu": Words(weekday=3),
    "thurs pls": Words(weekday=3),
    "on Thursday please": Words(weekday=3),
    "MONDAY": Words(weekday=0),
    "Thu 26 Nov": THU_26_NOV,
    "Thu, 26 Nov.": THU_26_NOV,
    "Thu 26 Nov 13:00-17:00": THU_26_NOV_13_17,
    "Thu 26 Nov, 13:00-17:00 please": THU_26_NOV_13_17,
    "Thursday the 26th of November": THU_26_NOV,
    "Thursday 26th": Words(day=26, weekday=3),
    "26 nov": Words(day=26, month=11),
    "26 November": Words(day=26, month=11),
    "Nov 26": Words(day=26, month=11),
    "26-Nov": Words(day=26, month=11),
    "the 26th": Words(day=26),
    "2 dec": Words(day=2, month=12),
    "2nd December": Words(day=2, month=12),
    "1 May": Words(day=1, month=5),
    "٢ dec": Words(day=2, month=12),
    "tomorrow": Words(relative="tomorrow"),
    "Tomorrow please": Words(relative="tomorrow"),
    "today": Words(relative="today"),
    "tomorrow Tue 24 Nov": TOMORROW_TUE_24_NOV,
    "post office": Words(place="post_office"),
    "the Post Office please": Words(place="post_office"),
    "post-office": Words(place="post_office"),
    "to my door": Words(place="door"),
}

REFUSALS: dict[str, Reply] = {
    # more than one number
    "1 or 2": SEVERAL,
    "1/2": SEVERAL,
    "½": SEVERAL,
    "1.5": SEVERAL,
    "2 3": SEVERAL,
    "2,3": SEVERAL,
    "2 2": SEVERAL,
    "1 and 3 please": SEVERAL,
    "one or two": SEVERAL,
    "option 1 number 2": SEVERAL,
    "number one choice is 2": SEVERAL,
    "1️⃣ 2️⃣": SEVERAL,
    "1\x002": SEVERAL,
    "2 26 nov": SEVERAL,
    "10:30": SEVERAL,
    "2026-11-26": SEVERAL,
    "+44 7700 900123": SEVERAL,
    "between 2 and 4": SEVERAL,
    "13:00-17:00": NUMBER,
    "2 13:00-17:00": SEVERAL,
    "thursday 2pm-5pm": SEVERAL,
    "Thu 26 Nov 1:00-5:00": SEVERAL,
    "Thu 26 Nov 13:00-17:00-19:00": SEVERAL,
    "Thu 26 Nov 13:00-17:00 or 18:00-20:00": SEVERAL,
    "1 (tomorrow Tue 24 Nov), 2 (Thu 26 Nov) or 3 (post office)": SEVERAL,
    "10/10": SEVERAL,
    # one number that is no choice
    "0": NUMBER,
    "12": NUMBER,
    "1\u200b2": NUMBER,
    "1️⃣2️⃣": NUMBER,
    "1٢": NUMBER,
    "02": NUMBER,
    "-1": NUMBER,
    "- (1)": NUMBER,
    "\u22121": NUMBER,
    "+1": NUMBER,
    "£2": NUMBER,
    "2%": NUMBER,
    "@2": NUMBER,
    "<2": NUMBER,
    "~2~": NUMBER,
    "1\u0336": NUMBER,
    "2; ": NUMBER,
    "2 🤔": NUMBER,
    "10%": NUMBER,
    "2pm": NUMBER,
    "2x": NUMBER,
    "2nd": NUMBER,
    "the second": NUMBER,
    "2 people": NUMBER,
    "2 hours": NUMBER,
    "2nite": NUMBER,
    "447700900123": NUMBER,
    "thursday 2pm": NUMBER,
    "thursday 2": NUMBER,
    "tomorrow 2": NUMBER,
    "thursday 10": NUMBER,
    "after 10": NUMBER,
    "to 2": NUMBER,
    "2 or nothing": NUMBER,
    "one moment": NUMBER,
    "I'd like one": NUMBER,
    "option 2 for my neighbour": NUMBER,
    "2 Bob": NUMBER,
    # negations and questions
    "no": NEGATION,
    "not 1": NEGATION,
    "no 2": NEGATION,
    "no. 2": NEGATION,
    "№ 2": NEGATION,
    "no thanks": NEGATION,
    "I can't do 2": NEGATION,
    "don't want 2": NEGATION,
    "2 doesn't work": NEGATION,
    "anything but 2": NEGATION,
    "not thursday": NEGATION,
    "1?": QUESTION,
    "1؟": QUESTION,
    "ok?": QUESTION,
    "tomorrow?": QUESTION,
    "can I have 2?": QUESTION,
    "\ud83d": QUESTION,
    # words that look like an answer
    "Ⅱ": UNKNOWN,
    "nice 1": UNKNOWN,
    "good one": UNKNOWN,
    "4 sure": UNKNOWN,
    "thursday or friday": UNKNOWN,
    "I'll be home thursday": UNKNOWN,
    "leave it at the door": UNKNOWN,
    "thanks, see you tomorrow": UNKNOWN,
    "👎": UNKNOWN,
    "asdf": UNKNOWN,
    "<script>alert()</script>": UNKNOWN,
    "S T O P": UNKNOWN,
    "can you come at the end of the day": UNKNOWN,
    "more info please": UNKNOWN,
    "cancel my order": UNKNOWN,
    "start again": UNKNOWN,
    # nothing to read
    "": NO_ANSWER,
    " \t\n": NO_ANSWER,
    "...": NO_ANSWER,
    "\x00": NO_ANSWER,
    "\u200b": NO_ANSWER,
    "hello": NO_ANSWER,
    "please": NO_ANSWER,
    "option": NO_ANSWER,
    "november": NO_ANSWER,
    "thursday friday": NO_ANSWER,
    "post office tomorrow": NO_ANSWER,
    "please start": NO_ANSWER,
    "cancel thursday": NO_ANSWER,
    "help start": NO_ANSWER,
    # too long
    "2" + "." * 160: TOO_LONG,
    "2" + " please" * 23: TOO_LONG,
    "2" + " " * 3000 + "not": TOO_LONG,
    "2 " + "x" * 10_000: TOO_LONG,
    "\u0301\u0323" * 5_000: TOO_LONG,
}

POLITENESS: dict[str, Reply] = {
    "ok thanks": Thanks(),
    "Thank you!": Thanks(),
    "thank you very much": Thanks(),
    "yes": Thanks(),
    "Yes please": Thanks(),
    "OK": Thanks(),
    "k": Thanks(),
    "great, thanks": Thanks(),
    "perfect": Thanks(),
    "cheers mate": Thanks(),
    "nice one": Thanks(),
    "That's fine": Thanks(),
    "hi, thanks": Thanks(),
    "👍": Thanks(),
    "👍🏿": Thanks(),
    "👍🏻👍🏻": Thanks(),
    "❤️": Thanks(),
}

CONSENT: dict[str, Reply] = {
    "STOP": OptOut(),
    "stop": OptOut(),
    "STOP.": OptOut(),
    '"Stop"': OptOut(),
    "\uff33\uff34\uff2f\uff30": OptOut(),
    " stop!!! ": OptOut(),
    "STOP STOP": OptOut(),
    "STOPALL": OptOut(),
    "STOP ALL": OptOut(),
    "stop-all": OptOut(),
    "END": OptOut(),
    "Quit": OptOut(),
    "UNSUBSCRIBE": OptOut(),
    "Revoke": OptOut(),
    "OPT OUT": OptOut(),
    "opt-out": OptOut(),
    "OptOut": OptOut(),
    "STOP\n\nSent from my iPhone": OptOut(),
    "stop 2": WANTS_OUT,
    "stop2": WANTS_OUT,
    "2 stop": WANTS_OUT,
    "please stop": WANTS_OUT,
    "Stop. Thank you": WANTS_OUT,
    "STOP?": WANTS_OUT,
    "don't stop": WANTS_OUT,
    "please stop texting me": WANTS_OUT,
    "can you stop by at the end of the day": WANTS_OUT,
    "end please": WANTS_OUT,
    "please end 2": WANTS_OUT,
    "quit texting me": WANTS_OUT,
    "opt me out": WANTS_OUT,
    "please remove me from your list": WANTS_OUT,
    "No more texts!": WANTS_OUT,
    "cancel, stop": WANTS_OUT,
    "stop " + "this nonsense " * 100: WANTS_OUT,
    "START": OptIn(),
    "unstop.": OptIn(),
    "help": Help(),
    "HELP!": Help(),
    "help?": Help(),
    "Help me please": Help(),
    "INFO": Help(),
    "help 2": NUMBER,
    "CANCEL": Cancel(),
    "cancel please": Cancel(),
    "cancel 2": NUMBER,
    "cancel?": QUESTION,
}

EVERYTHING = CHOICES | PRINTED_WORDS | REFUSALS | POLITENESS | CONSENT


def _id(value: object) -> str:
    return ascii(value)[:40] if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(("text", "reply"), EVERYTHING.items(), ids=_id)
def test_reply_is_read_as_the_table_says(text: str, reply: Reply):
    assert parse_reply(text) == reply


def test_no_example_stands_in_two_tables():
    tables = (CHOICES, PRINTED_WORDS, REFUSALS, POLITENESS, CONSENT)
    assert sum(map(len, tables)) == len(EVERYTHING)


def test_at_least_half_of_the_examples_choose_nothing():
    assert len(REFUSALS | POLITENESS | CONSENT) >= len(EVERYTHING) / 2


@pytest.mark.parametrize(
    ("text", "rule", "matched"),
    [
        ("2 please", "digit", "2"),
        ("٢!", "digit", "٢"),
        ("Ok, option 3 thanks", "option and digit", "option 3"),
        ("Two please", "number word", "Two"),
        ("Number two", "option and number word", "Number two"),
        ("the Second one", "ordinal and option", "the Second one"),
        ("2 (Thu 26 Nov)", "digit and its words", "2 Thu 26 Nov"),
        ("thurs pls", "printed words", "thurs"),
        ("Ok thanks", "politeness", "Ok thanks"),
        ("Cancel please", "cancel word", "Cancel"),
        ("STOP.", "opt-out word", "STOP"),
        ("start", "opt-in word", "start"),
        ("Help!", "help word", "Help"),
        ("please Stop it", "opt-out word among others", "Stop"),
        ("please quit it", "opt-out word among others", "quit"),
        ("2 3", "several numbers", "2 3"),
        ("thursday 2pm", "number that is no choice", "2pm"),
        ("not 1", "negation", "not"),
        ("1?", "question", "?"),
        ("maybe later", "unknown words", "maybe later"),
        ("option", "no answer in it", "option"),
        ("", "no answer in it", ""),
        ("2" * 200, "too long", ""),
    ],
)
def test_every_reading_names_its_rule_and_matched_text(text: str, rule: str, matched: str):
    reply = parse_reply(text)
    assert (reply.rule, reply.matched) == (rule, matched)


def test_a_refusal_gives_its_rule_as_the_reason():
    for text in REFUSALS:
        reply = parse_reply(text)
        assert isinstance(reply, NotUnderstood)
        assert reply.reason == reply.rule


@pytest.mark.parametrize("language", ["en", "EN", "en-GB", "en_US", "tlh", "", "../en", "\x00"])
def test_a_language_without_a_table_is_read_as_english(language: str):
    assert parse_reply("two please", language) == Choice(2)
    assert parse_reply("STOP", language) == OptOut()


SHARED: dict[str, Any] = {"opt_out": ["stop"]}


def test_the_english_opt_out_words_hold_beside_a_languages_own():
    table = build_table({"opt_out": ["stopp"], "politeness": ["bitte"]}, SHARED)
    assert table.phrases["stop",] == table.phrases["stopp",] == ("S", 0)


def test_a_list_of_lists_counts_from_its_first_entry():
    table = build_table({"months": [["januar", "jan"], ["februar"]]}, SHARED)
    assert table.phrases["jan",] == ("m", 1)
    assert table.phrases["februar",] == ("m", 2)


def test_a_word_of_a_script_with_vowel_marks_stays_one_word():
    assert ("कृपया",) in build_table({"courtesy": ["कृपया"]}, SHARED).phrases


def test_a_word_with_two_meanings_is_refused_when_the_table_is_built():
    with pytest.raises(ValueError, match="'stop' stands in two lists"):
        build_table({"help": ["stop"]}, SHARED)


def test_a_list_of_an_unknown_name_is_refused_when_the_table_is_built():
    with pytest.raises(KeyError, match="polite"):
        build_table({"polite": ["bitte"]}, SHARED)


@pytest.mark.parametrize(
    "text",
    [
        "2" * 10_000,
        "2 " * 5_000,
        "stop " * 2_000,
        "\u0301\u0323" * 5_000,
        "\ufdfa" * 10_000,
        "please " * 22,
        "1 " * 80,
        "the on " * 20,
    ],
    ids=_id,
)
def test_a_hostile_text_is_read_quickly(text: str):
    parse_reply("")  # the word tables are read once
    started = time.process_time()
    parse_reply(text)
    assert time.process_time() - started < 0.5
