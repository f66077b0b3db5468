"""The words a customer reads: SMS texts by language, and how many parts they are billed as."""

import datetime as dt
import functools
import unicodedata

from django.conf import settings
from django.template import Context, Engine
from django.template.base import Template
from django.utils import timezone
from django.utils.translation import override

from bookings.language.tokens import stem, word_table
from bookings.models import Slot, SlotOption
from bookings.models.fields import show_msisdn

__all__ = ["costly_characters", "count_parts", "is_gsm7", "mask", "plain", "render", "show_msisdn"]

# GSM 03.38 as Vonage prints it (concatenation and encoding guide). Those of the extension take two septets.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€")


def costly_characters(text: str) -> list[str]:
    """The characters outside GSM-7, in order, each once: one of them makes the whole SMS UCS-2."""
    return [char for char in dict.fromkeys(text) if char not in _BASIC and char not in _EXTENDED]


#: What looks alike and is cheap, for characters whose plain form Unicode does not know.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4\u02bc\u2039\u203a", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2022\u00b7", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u00ad\ufeff", ""),
        **dict(
            zip("\u0142\u0141\u0111\u0110\u0131\u00f0\u00d0\u00d7\u2044", "lLdDidDx/", strict=True)
        ),
        "\u0153": "oe",
        "\u0152": "OE",
        "\u00fe": "th",
        "\u00de": "Th",
    }
)


def plain(text: str) -> str:
    """The text without the characters that make it dearer, if it can be said so; else as it is.

    Typographic signs become their plain forms, letters with an accent outside GSM-7 lose it.
    """
    folded = "".join(char if is_gsm7(char) else _without_accent(char) for char in text)
    return folded if is_gsm7(folded) else text


def _without_accent(char: str) -> str:
    told_apart = unicodedata.normalize("NFKD", char.translate(_PLAIN))
    return "".join(sign for sign in told_apart if not unicodedata.combining(sign))


def is_gsm7(text: str) -> bool:
    return not costly_characters(text)


def measure(text: str, *, is_unicode: bool) -> int:
    """How much of an SMS a text takes: septets of GSM-7, or UCS-2 units."""
    return sum(1 + (char > "\uffff" if is_unicode else char in _EXTENDED) for char in text)


def count_parts(text: str) -> int:
    """How many SMS a text is billed as: 160 septets or 70 UCS-2 units alone, 153 or 67 each when joined."""
    if is_gsm7(text):
        sizes, alone, joined = [1 + (char in _EXTENDED) for char in text], 160, 153
    else:
        sizes, alone, joined = [1 + (char > "\uffff") for char in text], 70, 67
    if sum(sizes) <= alone:
        return 1
    parts, room = 1, joined
    for size in sizes:  # a character that takes two is never split between parts
        if size > room:
            parts, room = parts + 1, joined
        room -= size
    return parts


def mask(msisdn: str) -> str:
    """A number for logs: enough to tell two apart, not enough to call one."""
    return f"+{msisdn[:2]}•••••{msisdn[-4:]}" if len(msisdn) > len("123456") else "•••••"


@functools.cache
def _engine() -> Engine:
    # An SMS is no HTML: nothing is escaped.
    return Engine(dirs=[str(settings.BASE_DIR / "templates")], autoescape=False)


def languages() -> list[str]:
    """The languages that we have texts in: the folders of templates/sms."""
    return sorted(path.name for path in (settings.BASE_DIR / "templates" / "sms").iterdir())


@functools.cache
def _spoken(language: str) -> str:
    """The language itself if we have its texts, else English."""
    own = stem(language)
    return own if own in languages() else "en"


@functools.cache
def _template(name: str, language: str) -> Template:
    return _engine().get_template(f"sms/{language}/{name}.txt")


def render(name: str, language: str, **context: object) -> str:
    """The text `templates/sms/<language>/<name>.txt`, on one line. A language without one gets English."""
    company = {"company": settings.COMPANY_NAME, "phone": settings.COMPANY_PHONE}
    language = _spoken(language)
    with override(language):
        text = _template(name, language).render(Context(company | context, autoescape=False))
    return " ".join(text.split())


def day(date: dt.date, language: str) -> str:
    """A date as customers read it: `Tue 24 Nov`, in words that the reader of replies knows."""
    words = word_table(language)
    return render(
        "day",
        language,
        weekday=words.printed_weekdays[date.weekday()],
        day=date.day,
        month=words.printed_months[date.month - 1],
    )


def moment(at: dt.datetime, language: str) -> str:
    """A moment in the company's zone: `Mon 23 Nov 22:00`."""
    local = timezone.localtime(at)
    if local.time() == dt.time():  # "before Tue 00:00" would be read as the end of Tuesday
        return f"{day(local.date() - dt.timedelta(days=1), language)} 24:00"
    return f"{day(local.date(), language)} {local:%H:%M}"


def where(slot: Slot, language: str) -> str:
    """Where and when a delivery is planned, with date and window, never with "tomorrow"."""
    return render("place", language, slot=slot, day=day(slot.date, language))


def where_to_come(language: str, *, is_new: bool) -> str:
    """What stands for `where` in an example: a place and a time that nobody has chosen yet, or those it had."""
    return render("place_to_come", language, is_new=is_new)


def option_words(slot: Slot, booked: Slot, language: str, *, today: dt.date | None = None) -> str:
    """What is printed behind a digit: the date, and what differs from the booked slot.

    With `today` given, "today" and "tomorrow" stand before the date: true on that day only.
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
    """`1 (Tue 24 Nov), 2 (Thu 26 Nov) or 3 (post office)`: the options as they read on any day."""
    lines = [
        (option.digit, option_words(option.slot, option.notification.slot, language))
        for option in options
    ]
    return render("options", language, options=lines)


def digits_text(options: list[SlotOption], language: str) -> str:
    """`1, 2 or 3`"""
    return render("options", language, options=[(option.digit, "") for option in options])
