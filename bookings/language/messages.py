"""The texts that customers read, by language."""

import datetime as dt
import functools

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
