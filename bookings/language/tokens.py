"""Turns a customer's text into tokens: cleaned, cut into words, and looked up in a language's word table.

A word table is data: one TOML file for each language in lexicon/. Every token has a kind of one
letter, so that a whole text has a shape ("option 3 please" is "odc") that replies/parser.py can compare.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

DEFAULT_LANGUAGE = "en"

Lists: TypeAlias = dict[str, list[Any]]  # a word table as its file has it

_HOLD_EVERYWHERE = (
    *("opt_out", "opt_out_everyday", "opt_out_asked", "opt_in", "help", "cancel", "signs"),
)

# The kind of token each list in a word table makes, and the value of the list's first entry.
_SECTIONS = {
    "opt_out": ("S", 0),
    "opt_out_everyday": ("E", 0),
    "opt_out_asked": ("A", 0),
    "opt_in": ("I", 0),
    "help": ("H", 0),
    "cancel": ("C", 0),
    "politeness": ("p", 0),
    "signs": ("p", 0),
    "courtesy": ("c", 0),
    "signatures": ("z", 0),
    "idioms": ("u", 0),
    "option_nouns": ("o", 0),
    "before_choice": ("l", 0),
    "after_choice": ("t", 0),
    "number_or_pronoun": ("i", 1),
    "number_or_article": ("a", 1),
    "numbers": ("n", 1),
    "ordinals": ("f", 1),
    "negations": ("N", 0),
    "today": ("y", 0),
    "tomorrow": ("Y", 0),
    "date_joiners": ("g", 0),
    "post_office": ("P", 0),
    "door": ("D", 0),
    "weekdays": ("w", 0),
    "months": ("m", 1),
}
# Numbers in digits: d 1-9, f 1st-9th, b 10-31, e 10th-31st, x any other word with a digit in it.
# What is left: W a window as we print it (13:00-17:00), q a question mark, u unknown.
NUMBERS = "dfbexniaW"
_WRITTEN = {number: ("d", "f") if number in range(1, 10) else ("b", "e") for number in range(1, 32)}

_QUESTION_MARKS = frozenset("?¿؟")
_LEFT_OUT = frozenset(".,!:\"'*#_¡。、،")  # and every bracket and quotation mark there is
_BRACKETS_AND_QUOTES = frozenset({"Ps", "Pe", "Pi", "Pf"})
_UNSEEN = frozenset("\u20e3\ufe0e\ufe0f" + "".join(map(chr, range(0x1F3FB, 0x1F400))))
_NO_DECOMPOSITION = {"ł": "l", "ø": "o", "æ": "ae", "œ": "oe"}
_WINDOW = re.compile(r"(?<![\w:.-])([0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2})(?![\w:-])")
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])['`\u2019\u02bc](?=[^\W\d_])")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, phrase or sign. `value` is the number, day, month or weekday; `raw` as written."""

    kind: str
    value: int
    raw: str


@dataclass(frozen=True, slots=True)
class WordTable:
    """The phrases of a language, as folded words, with the kind and value of the token that each makes."""

    phrases: dict[tuple[str, ...], tuple[str, int]]
    longest: int
    printed_weekdays: tuple[str, ...]  # from Monday
    printed_months: tuple[str, ...]


def clean(text: str) -> str:
    """Return a text in NFKC, on one line, without invisible characters: format characters, keycaps, skin tones."""
    whole = text.encode("utf-8", "replace").decode()  # a lone surrogate becomes a question mark
    kept = "".join(
        " " if unicodedata.category(char) == "Cc" else char
        for char in unicodedata.normalize("NFKC", whole)
        if unicodedata.category(char) != "Cf" and char not in _UNSEEN
    )
    return _APOSTROPHE.sub("", " ".join(kept.split()))


def tokens(cleaned: str, language: str) -> list[Token]:
    """Return the tokens of a cleaned text: the longest phrases, without punctuation."""
    table = word_table(language)
    raws = [piece for piece in _pieces(cleaned) if not _is_left_out(piece)]
    # A dash goes too, unless a number follows: "-1" is not 1, but "2 - thanks" is 2.
    kinds_after = [_word(raw, table).kind for raw in raws[1:]] + ["u"]
    words = [
        raw
        for raw, after in zip(raws, kinds_after, strict=False)
        if not _is_dash(raw) or after in NUMBERS
    ]
    return list(_longest_phrases(words, table))


def word_table(language: str) -> WordTable:
    """Return the table of "en", "en-GB" or "en_GB"; of an unknown language the English one."""
    own = stem(language)
    return _tables()[own if own in _tables() else DEFAULT_LANGUAGE]


def stem(language: str) -> str:
    """Return the language without its country: "en" for "en-GB"."""
    return re.split("[-_]", language.casefold(), maxsplit=1)[0]


@cache
def _tables() -> dict[str, WordTable]:
    lists = {
        path.stem: tomllib.loads(path.read_text("utf-8"))
        for path in (Path(__file__).parent / "lexicon").glob("*.toml")
    }
    shared = {name: lists[DEFAULT_LANGUAGE][name] for name in _HOLD_EVERYWHERE}
    return {language: build_table(own, shared) for language, own in lists.items()}


def build_table(own: Lists, shared: Lists) -> WordTable:
    """Build the table of a language from its own lists and those that hold in every language.

    Raises ValueError if a phrase stands in two lists with two meanings, KeyError for a list of an
    unknown name.
    """
    phrases: dict[tuple[str, ...], tuple[str, int]] = {}
    for section, entries in [*shared.items(), *own.items()]:
        if section != "ordinal_suffixes":
            _add(phrases, entries, *_SECTIONS[section])
    for number, (plain, ordinal) in _WRITTEN.items():
        _add(phrases, [f"{number}"], plain, number)
        _add(phrases, [f"{number}{s}" for s in own.get("ordinal_suffixes", ())], ordinal, number)
    weekdays, months = (
        tuple(first for first, *_ in own.get(name, ())) for name in ("weekdays", "months")
    )
    return WordTable(phrases, max(map(len, phrases)), weekdays, months)


def _add(
    phrases: dict[tuple[str, ...], tuple[str, int]],
    entries: list[Any],
    kind: str,
    first: int,
) -> None:
    for value, entry in enumerate(entries, first):
        is_one = isinstance(entry, str)
        meaning = (kind, first if is_one else value)
        for phrase in [entry] if is_one else entry:
            words = tuple(_fold(piece) for piece in _pieces(clean(phrase)))
            if phrases.setdefault(words, meaning) != meaning:
                raise ValueError(f"{phrase!r} stands in two lists of a word table")


def _pieces(cleaned: str) -> Iterator[str]:
    """Cut a text into words (letters, marks and numbers in a row), windows and single signs, without spaces."""
    for stretch in _WINDOW.split(cleaned):
        if _WINDOW.fullmatch(stretch):
            yield stretch
            continue
        for is_word, group in groupby(stretch, lambda char: unicodedata.category(char)[0] in "LMN"):
            piece = "".join(group)
            yield from [piece] if is_word else piece.replace(" ", "")


def _fold(piece: str) -> str:
    """Return small letters, Latin ones without accents, and digits of any script as ASCII.

    An accent is removed only if it is one character with its letter: a digit struck through is no digit.
    """
    digits = ((char, unicodedata.digit(char, None)) for char in piece.casefold())
    return "".join(_plain(char) if digit is None else str(digit) for char, digit in digits)


def _plain(char: str) -> str:
    if not "\u00df" <= char <= "\u024f":
        return char
    return _NO_DECOMPOSITION.get(char) or unicodedata.normalize("NFD", char)[0]


def _is_left_out(piece: str) -> bool:
    return piece in _LEFT_OUT or unicodedata.category(piece[0]) in _BRACKETS_AND_QUOTES


def _is_dash(piece: str) -> bool:
    return piece == "\u2212" or unicodedata.category(piece[0]) == "Pd"


def _longest_phrases(raws: list[str], table: WordTable) -> Iterator[Token]:
    folded = [_fold(raw) for raw in raws]
    at = 0
    while at < len(raws):
        for end in range(min(len(raws), at + table.longest), at, -1):
            if found := table.phrases.get(tuple(folded[at:end])):
                yield Token(*found, " ".join(raws[at:end]))
                at = end
                break
        else:
            yield from _single(raws[at], table)
            at += 1


def _single(raw: str, table: WordTable) -> Iterator[Token]:
    """Return the tokens of a piece that is no phrase; "option2" and "stop2" are two tokens."""
    stem, digit = raw[:-1], raw[-1]
    found = table.phrases.get((_fold(stem),))
    if found and found[0] in "oSE":
        yield Token(*found, stem)
        yield _word(digit, table)
    else:
        yield _word(raw, table)


def _word(raw: str, table: WordTable) -> Token:
    word = _fold(raw)
    if _WINDOW.fullmatch(raw):
        return Token("W", 0, raw)
    other = "x" if re.search("[0-9]", word) else "q" if word in _QUESTION_MARKS else "u"
    return Token(*table.phrases.get((word,), (other, 0)), raw)
