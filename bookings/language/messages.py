"""The texts that customers read, by language."""

import datetime as dt
import functools
import tomllib
from pathlib import Path

from django.conf import settings
from django.template import Context, Engine
from django.template.base import Template
from django.utils import timezone
from django.utils.translation import override

from bookings.language.tokens import stem, word_table
from bookings.models import Slot, SlotOption
from bookings.models.fields import show_msisdn

__all__ = ["mask", "render", "show_msisdn"]


def mask(msisdn: str) -> str:
    """Return a number for logs: two numbers can be told apart, and none can be called."""
    return f"+{msisdn[:2]}•••••{msisdn[-4:]}" if len(msisdn) > len("123456") else "•••••"


#: A table for each language, by the names of the texts.
TABLES = Path(__file__).parent / "texts"

# An SMS is no HTML: nothing is escaped.
_engine = Engine(autoescape=False)


@functools.cache
def languages() -> list[str]:
    """Return the languages that have a table of texts."""
    return sorted(path.stem for path in TABLES.glob("*.toml"))


@functools.cache
def texts(language: str) -> dict[str, str]:
    """Return the table of a language: the source of each text by its name."""
    return tomllib.loads((TABLES / f"{language}.toml").read_text("utf-8"))


@functools.cache
def _spoken(language: str) -> str:
    """Return the language itself if it has a table of texts, else English."""
    own = stem(language)
    return own if own in languages() else "en"


@functools.cache
def _template(name: str, language: str) -> Template:
    return _engine.from_string(texts(language)[name])


def render(name: str, language: str, **context: object) -> str:
    """Return a text of the language's table, on one line. A language without a table gets English."""
    company = {"company": settings.COMPANY_NAME, "phone": settings.COMPANY_PHONE}
    language = _spoken(language)
    with override(language):
        text = _template(name, language).render(Context(company | context, autoescape=False))
    return " ".join(text.split())


def day(date: dt.date, language: str) -> str:
    """Return a date as customers read it: `Tue 24 Nov`, in words that the parser of replies knows."""
    words = word_table(language)
    return render(
        "day",
        language,
        weekday=words.printed_weekdays[date.weekday()],
        day=date.day,
        month=words.printed_months[date.month - 1],
    )


def moment(at: dt.datetime, language: str) -> str:
    """Return a moment in the company's zone: `Mon 23 Nov 22:00`."""
    local = timezone.localtime(at)
    if local.time() == dt.time():  # "before Tue 00:00" would be read as the end of Tuesday
        return f"{day(local.date() - dt.timedelta(days=1), language)} 24:00"
    return f"{day(local.date(), language)} {local:%H:%M}"


def where(slot: Slot, language: str) -> str:
    """Return place, date and window of a delivery, never "tomorrow"."""
    return render("place", language, slot=slot, day=day(slot.date, language))


def where_to_come(language: str, *, is_new: bool) -> str:
    """Return what stands for `where` in an example: a place and a time not chosen yet, or the ones it had."""
    return render("place_to_come", language, is_new=is_new)


def option_words(slot: Slot, booked: Slot, language: str, *, today: dt.date | None = None) -> str:
    """Return the words that are printed behind a digit: the date, and what differs from the booked slot.

    If `today` is given, "today" or "tomorrow" stands before the date, which is true on that day only.
    """
    relative = {0: "today", 1: "tomorrow"}.get((slot.date - today).days, "") if today else ""
    return render(
        "option",
        language,
        slot=slot,
        day=day(slot.date, language),
        relative=relative,
        is_other_day=slot.date != booked.date,
        is_other_window=slot.window != booked.window,
    )


def options_text(options: list[SlotOption], language: str) -> str:
    """Return `1 (Tue 24 Nov), 2 (Thu 26 Nov) or 3 (post office)`: the options as they read on any day."""
    lines = [
        (option.digit, option_words(option.slot, option.notification.slot, language))
        for option in options
    ]
    return render("options", language, options=lines)


def digits_text(options: list[SlotOption], language: str) -> str:
    """Return the digits of the options: `1, 2 or 3`."""
    return render("options", language, options=[(option.digit, "") for option in options])
