"""Strict reading of the environment: errors name the variable and say what to write."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SWITCH = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


class Env(environ.Env):
    """django-environ without its traps: no `$` references, no blanks in lists, empty = default.

    `NAME_FILE` names a file that holds the value of `NAME`; it wins where both are set.
    A cast raises ValueError with what to write instead; the variable's name is added here.
    """

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, **_: Any
    ) -> Any:
        """Return the cast value of `var`, or the default if it is not set."""
        text = self.written(var)
        if not text:
            if default is self.NOTSET:
                raise ImproperlyConfigured(
                    f"{var} is not set. Write it into .env or the environment."
                )
            return default
        try:
            return _cast(text, cast)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} {error}.") from error

    def written(self, var: str) -> str | None:
        """Return the text of `var`, stripped; None if it is not set, "" if it is empty."""
        path = self.ENVIRON.get(f"{var}_FILE", "").strip()
        if not path:
            text: str | None = self.ENVIRON.get(var)
            return None if text is None else text.strip()
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(
                f"{var}_FILE names {path}, which cannot be read: {error.strerror}."
            ) from error


def read_env_file(default: Path) -> None:
    """Add the variables of `ENV_FILE`, or of `default` if it exists, that the real environment does not set.

    A `NAME` of the real environment also beats a `NAME_FILE` of the file.
    """
    named = Env.ENVIRON.get("ENV_FILE", "").strip()
    path = Path(named) if named else default
    if not path.exists():
        if named:
            raise ImproperlyConfigured(f"ENV_FILE names {named}, which does not exist.")
        return
    real = frozenset(Env.ENVIRON)
    Env.read_env(path)
    for name in real:
        if f"{name}_FILE" not in real:
            Env.ENVIRON.pop(f"{name}_FILE", None)


def database(text: str) -> dict[str, Any]:
    """A cast for `sqlite:///file` and `postgres://user:password@host/name?option=value`.

    Error messages leave the value out, because it contains a password.
    """
    if text.partition(":")[0] not in {"sqlite", "postgres", "postgresql"}:
        raise ValueError("must begin with sqlite:/// or postgres://user:password@host/name")
    try:
        found: dict[str, Any] = environ.Env.db_url_config(text)
    except ValueError:
        raise ValueError("cannot be read: percent-encode what is odd, and check the port") from None
    return found


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a cast that accepts exactly these words, in upper or lower case."""

    def cast(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text.lower()

    return cast


def matching(pattern: str, wanted: str) -> Callable[[str], str]:
    """Return a cast that accepts text matching the whole `pattern`; `wanted` describes it in the error."""

    def cast(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {wanted}")
        return text

    return cast


def hours(text: str) -> int:
    """A whole number of hours, 0 or more."""
    if _whole(text) < 0:
        raise ValueError("must be a whole number of hours, 0 or more")
    return int(text)


def rate(text: str) -> float:
    """Messages per second, more than 0."""
    value = _number(text)
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


def count(text: str) -> int:
    """A whole number, 1 or more."""
    if _whole(text) < 1:
        raise ValueError("must be a whole number, 1 or more")
    return int(text)


def money(text: str) -> Decimal:
    """An amount such as 0.05, more than 0, with up to eight decimals."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,8})?", text) or not Decimal(text):
        raise ValueError("must be an amount such as 0.05, more than 0")
    return Decimal(text)


def prices(text: str) -> dict[str, Decimal]:
    """`GB:0.04,US:0.008` as amounts by country in two capitals."""
    pairs = [part.strip().partition(":") for part in text.split(",") if part.strip()]
    if not all(re.fullmatch("[A-Z]{2}", country) for country, _, _ in pairs):
        raise ValueError("must look like GB:0.04,US:0.008")
    return {country: money(amount) for country, _, amount in pairs}


def quiet_hours(text: str) -> tuple[time, time] | None:
    """`20:00-08:00` as (start, end) in the company's zone; empty = None."""
    if not text:
        return None
    found = re.fullmatch(r"(\d\d:\d\d)\s*-\s*(\d\d:\d\d)", text)
    try:
        start, end = map(time.fromisoformat, found.groups() if found else ())
    except ValueError:
        raise ValueError("must look like 20:00-08:00, or be empty for none") from None
    if start == end:
        raise ValueError("must not begin and end at the same time; leave it empty for none")
    return start, end


def weekdays(text: str) -> frozenset[int]:
    """`mon-sat` or `mon,wed,fri` as day numbers, Monday = 0."""
    days: set[int] = set()
    for part in re.split(r"\s*,\s*", text.lower()):
        ends = [word.strip() for word in part.split("-", maxsplit=1)]
        if not set(ends) <= set(WEEKDAYS):
            raise ValueError("must look like mon-sat or mon,wed,fri")
        start = WEEKDAYS.index(ends[0])
        length = (WEEKDAYS.index(ends[-1]) - start) % 7 + 1
        days.update((start + step) % 7 for step in range(length))
    return frozenset(days)


def sender(text: str) -> str:
    """A virtual number in E.164 digits without plus, or an alphanumeric sender as it stands."""
    digits = re.sub(r"[\s+().-]", "", text)
    if re.fullmatch(r"[1-9][0-9]{6,14}", digits):
        return digits
    if re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{3,11}", text):
        return text
    raise ValueError("must hold numbers with their country code, such as 447700900000")


def time_zone(text: str) -> str:
    """A zone of the IANA database, such as Europe/London."""
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a zone such as Europe/London") from None
    return text


def sqlite_name(name: str, base: Path) -> str:
    """Return the database file, relative to `base` instead of the working directory."""
    return name if name == ":memory:" else str(base / name)


def _switch(text: str) -> bool:
    if text.lower() not in SWITCH:
        raise ValueError("must be True or False, with nothing after it")
    return SWITCH[text.lower()]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("must be a number") from None
    if not math.isfinite(value):
        raise ValueError("must be a number")
    return value


CASTS: Mapping[type, Callable[[str], Any]] = {bool: _switch, int: _whole, float: _number, str: str}


def _cast(text: str, cast: Any) -> Any:
    match cast:
        case None:
            return text
        case [item]:
            return [CASTS.get(item, item)(part.strip()) for part in text.split(",") if part.strip()]
        case type() if cast is list:
            return _cast(text, [str])
        case _:
            return CASTS.get(cast, cast)(text)
