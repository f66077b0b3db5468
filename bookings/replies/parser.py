"""Reads a customer's reply: a text in, a value out. Nothing is guessed.

A reply is read only if the shape of the whole text, politeness aside, is in the tables below.
A word that nobody wrote into the language's table makes the text not understood.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from bookings.language.tokens import DEFAULT_LANGUAGE, NUMBERS, Token, clean, tokens

#: The rule that reads an opt-out word in a longer text: a person must see it at once.
WANTS_OUT = "opt-out word among others"

LONGEST_READ = 160  # characters after cleaning; nothing longer is a choice
LONGEST_LOOKED_AT = 2000  # characters as they came; an SMS of ten parts is shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The name of the rule that read a value, and the piece of text that it matched."""

    rule: str = field(default="", compare=False)
    matched: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Words(_Read):
    """Printed words alone. Everything given must fit exactly one option.

    `day` is the day of the month, `month` 1-12, `weekday` 0 for Monday. A place never comes with a
    date. `relative` is meant on the day the customer wrote. `window` is as we print it after a
    date, such as "13:00-17:00".
    """

    day: int | None = None
    month: int | None = None
    weekday: int | None = None
    place: Literal["post_office", "door"] | None = None
    relative: Literal["today", "tomorrow"] | None = None
    window: str | None = None


@dataclass(frozen=True, slots=True)
class Choice(_Read):
    """A number, 1 to 9. If it came with printed words that do not fit it, it is no choice."""

    number: int
    words: Words | None = None


@dataclass(frozen=True, slots=True)
class Thanks(_Read):
    """Politeness alone, `yes` included: it chooses nothing."""


@dataclass(frozen=True, slots=True)
class Cancel(_Read):
    """A bare CANCEL, politeness aside."""


@dataclass(frozen=True, slots=True)
class OptOut(_Read):
    """An opt-out word alone, without even politeness."""


@dataclass(frozen=True, slots=True)
class OptIn(_Read):
    """START or UNSTOP alone."""


@dataclass(frozen=True, slots=True)
class Help(_Read):
    """HELP or INFO, politeness and question marks aside."""


@dataclass(frozen=True, slots=True)
class NotUnderstood(_Read):
    """A text that was not read, with the reason. `wants_out`: it has an opt-out word; a person must see it at once."""

    reason: str
    wants_out: bool = False


Reply: TypeAlias = Choice | Words | Thanks | Cancel | OptOut | OptIn | Help | NotUnderstood

# The letters are the kinds of token that language/tokens.py names.
_POLITENESS = "pc"
_DAY_MONTH = "(?:[dbfe]g*m|mg*[dbfe])"  # 26 Nov, 26th of November, Nov 26
_WEEKDAY = f"w(?:g*(?:{_DAY_MONTH}|[fe]))?"  # Thu, Thu 26 Nov, Thu 26th; not Thu 10, maybe an hour
_RELATIVE = f"[yY](?:g*(?:{_WEEKDAY}|{_DAY_MONTH}))?"  # tomorrow, tomorrow Tue 24 Nov
_ECHO = "digit and its words"

# Politeness left out, the first of these that fits the whole text reads it.
_CHOICES = {
    "digit": "l*dt*",
    "option and digit": "l*o+dt*",
    "number word": "l*nt*|[ia]",  # "I'd like one" may be a delivery
    "option and number word": "l*o+[nia]t*",
    "ordinal and option": "l*g?f[oi]t*",  # "the 2nd" without "option" may be a date
    _ECHO: f"l*o*d(?:(?:{_RELATIVE}|{_WEEKDAY})W?|[PD])",  # "2 Thu 26 Nov"; "2 Dec" is a date
}
_PRINTED_WORDS = f"g*(?:(?:{_RELATIVE}|{_WEEKDAY}|{_DAY_MONTH})W?|e)|[PD]"

_PLACES: dict[str, Literal["post_office", "door"]] = {"P": "post_office", "D": "door"}
_RELATIVES: dict[str, Literal["today", "tomorrow"]] = {"y": "today", "Y": "tomorrow"}

# Why a text was not understood: the first line that finds so many tokens of its kinds.
_REFUSALS = (
    ("negation", "N", 1),
    ("question", "q", 1),
    ("several numbers", NUMBERS, 2),
    ("number that is no choice", NUMBERS, 1),
    ("unknown words", "u", 1),
)

#: Every rule by name, as they are stored with a reading.
RULES = (
    *_CHOICES,
    *("printed words", "politeness", "opt-out word", "opt-in word", "help word", "cancel word"),
    *(reason for reason, _, _ in _REFUSALS),
    *("no answer in it", WANTS_OUT, "too long", "not a text"),
)


def parse_reply(text: str, language: str = DEFAULT_LANGUAGE) -> Reply:
    """Read one whole reply; it never raises. An unknown language is read as English.

    1. Opt-out and opt-in words count only alone; an opt-out word among others asks for a person.
    2. Politeness is left out; what remains must be a choice, printed words, CANCEL or HELP.
    3. Everything else is not understood.
    """
    cleaned = clean(text[:LONGEST_LOOKED_AT])
    said = [token for token in tokens(cleaned, language) if token.kind != "z"]
    if len(text) > LONGEST_LOOKED_AT or len(cleaned) > LONGEST_READ:
        return _wants_out(said) or NotUnderstood("too long", rule="too long")
    rest = [token for token in said if token.kind not in _POLITENESS]
    return (
        _consent(said)
        or _wants_out(said)
        or _choice(rest)
        or _other(rest)
        or _thanks(rest, said)
        or _refusal(rest)
    )


def _consent(said: list[Token]) -> Reply | None:
    if re.fullmatch("[SE]+", _shape(said)):
        return OptOut(rule="opt-out word", matched=_raw(said))
    if _shape(said) == "I":
        return OptIn(rule="opt-in word", matched=_raw(said))
    return None


def _wants_out(said: list[Token]) -> NotUnderstood | None:
    """Find an opt-out word among others. An everyday word ("end", "quit") counts only at the beginning."""
    found = [token for token in said if token.kind in "SA"]
    if everyday := re.match(f"[{_POLITENESS}]*E", _shape(said)):
        found.append(said[everyday.end() - 1])
    if not found:
        return None
    return NotUnderstood(WANTS_OUT, wants_out=True, rule=WANTS_OUT, matched=_raw(found))


def _choice(rest: list[Token]) -> Choice | None:
    rule = next((rule for rule, form in _CHOICES.items() if re.fullmatch(form, _shape(rest))), None)
    if rule is None:
        return None
    at = next(i for i, token in enumerate(rest) if token.kind in NUMBERS)
    words = _words(rest[at + 1 :]) if rule == _ECHO else None
    return Choice(rest[at].value, words, rule=rule, matched=_raw(rest))


def _other(rest: list[Token]) -> Reply | None:
    shape, matched = _shape(rest), _raw(rest)
    if re.fullmatch(_PRINTED_WORDS, shape):
        return _words(rest)
    if shape == "C":
        return Cancel(rule="cancel word", matched=matched)
    if re.fullmatch("Hq*", shape):
        return Help(rule="help word", matched=matched)
    return None


def _thanks(rest: list[Token], said: list[Token]) -> Thanks | None:
    if rest or "p" not in _shape(said):
        return None
    return Thanks(rule="politeness", matched=_raw(said))


def _words(tokens: list[Token]) -> Words:
    by_kind = {token.kind: token.value for token in tokens}
    return Words(
        day=next((by_kind[kind] for kind in "dbfe" if kind in by_kind), None),
        month=by_kind.get("m"),
        weekday=by_kind.get("w"),
        place=next((_PLACES[kind] for kind in by_kind if kind in _PLACES), None),
        relative=next((_RELATIVES[kind] for kind in by_kind if kind in _RELATIVES), None),
        window=next((token.raw for token in tokens if token.kind == "W"), None),
        rule="printed words",
        matched=_raw(tokens),
    )


def _refusal(rest: list[Token]) -> NotUnderstood:
    for reason, kinds, at_least in _REFUSALS:
        guilty = [token for token in rest if token.kind in kinds]
        if len(guilty) >= at_least:
            return NotUnderstood(reason, rule=reason, matched=_raw(guilty))
    return NotUnderstood("no answer in it", rule="no answer in it", matched=_raw(rest))


def _shape(tokens: list[Token]) -> str:
    return "".join(token.kind for token in tokens)


def _raw(tokens: list[Token]) -> str:
    return " ".join(token.raw for token in tokens)
