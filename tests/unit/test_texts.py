"""The alphabet and parts of an SMS, and masked numbers."""

import datetime as dt

import pytest

from bookings.admin.shared.columns import show_day
from bookings.language import encoding, messages
from bookings.models import ClosedDay, Place, Slot

BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = "^{}\\[~]|€"


@pytest.mark.parametrize("char", BASIC + EXTENDED)
def test_every_character_of_the_alphabet_is_gsm_7(char):
    assert encoding.is_gsm7(char)
    assert encoding.costly_characters(char) == []


@pytest.mark.parametrize(
    "char", ["\u2019", "\u201c", "\u2013", "…", "ç", "á", "ł", "`", "\t", "\u00a0", "🚚"]
)
def test_any_other_character_makes_the_whole_text_unicode(char):
    assert not encoding.is_gsm7(f"Parcel {char}")


def test_costly_characters_are_named_once_in_their_order():
    text = "It\u2019s \u201cready\u201d: it\u2019s €5"
    assert encoding.costly_characters(text) == ["\u2019", "\u201c", "\u201d"]


PARTS = {
    "nothing": ("", 1),
    "160 of GSM-7 are one": ("a" * 160, 1),
    "161 are two": ("a" * 161, 2),
    "306 are two": ("a" * 306, 2),
    "307 are three": ("a" * 307, 3),
    "459 are three": ("a" * 459, 3),
    "460 are four": ("a" * 460, 4),
    "an extension character counts two": ("a" * 158 + "€", 1),
    "and so is too much for a single place": ("a" * 159 + "€", 2),
    "80 of them fill a part": ("€" * 80, 1),
    "81 of them do not fit": ("€" * 81, 2),
    "70 of UCS-2 are one": ("ç" * 70, 1),
    "71 are two": ("ç" * 71, 2),
    "134 are two": ("ç" * 134, 2),
    "135 are three": ("ç" * 135, 3),
    "one costly character changes the measure": ("a" * 70 + "\u2019", 2),
    "an extension character is not split": ("a" * 152 + "€" + "a" * 152, 3),
    "nor is an emoji": ("ç" * 66 + "🚚" + "ç" * 66, 3),
    "an emoji counts two": ("a" * 68 + "🚚", 1),
    "and so is too much for one place": ("a" * 69 + "🚚", 2),
}


@pytest.mark.parametrize(("text", "parts"), PARTS.values(), ids=PARTS)
def test_sms_is_split_into_the_expected_parts(text, parts):
    assert encoding.count_parts(text) == parts


@pytest.mark.parametrize(
    ("msisdn", "shown"),
    [("447700900123", "+44•••••0123"), ("12025550101", "+12•••••0101"), ("62345", "•••••")],
)
def test_a_masked_number_cannot_be_called(msisdn, shown):
    assert messages.mask(msisdn) == shown


def slot(day: int, start: int = 9, place: Place = Place.DOOR) -> Slot:
    return Slot(
        date=dt.date(2026, 11, day),
        window_start=dt.time(start),
        window_end=dt.time(start + 3),
        place=place,
    )


BOOKED = slot(24)
TODAY = dt.date(2026, 11, 23)
WORDS = {
    "the booked slot": (BOOKED, None, "Tue 24 Nov"),
    "on the day of the text": (BOOKED, TODAY, "tomorrow Tue 24 Nov"),
    "on its own day": (slot(23), TODAY, "today Mon 23 Nov"),
    "a later day": (slot(26), TODAY, "Thu 26 Nov"),
    "the window where it differs": (slot(26, start=14), TODAY, "Thu 26 Nov 14:00-17:00"),
    "the post office": (slot(24, place=Place.POST_OFFICE), TODAY, "post office"),
    "the post office on another day": (
        slot(26, start=14, place=Place.POST_OFFICE),
        TODAY,
        "post office Thu 26 Nov 14:00-17:00",
    ),
}


@pytest.mark.parametrize(("offered", "today", "words"), WORDS.values(), ids=WORDS)
def test_option_prints_its_words_behind_the_digit(offered, today, words):
    assert messages.option_words(offered, BOOKED, "en", today=today) == words


def test_a_text_is_one_line_and_nothing_in_it_is_escaped(settings):
    settings.COMPANY_NAME = "Tom & Sons"
    text = messages.render("help", "en", reference="<A>\n'1'")
    assert text.startswith("Tom & Sons: ")
    assert "<A> '1'" in text


def test_a_language_without_texts_gets_english():
    assert messages.render("help", "xx", reference="A1") == messages.render(
        "help", "en", reference="A1"
    )


def test_a_language_without_texts_gets_english_dates_too():
    assert messages.day(dt.date(2026, 11, 24), "xx") == "Tue 24 Nov"
    assert messages.languages() == ["de", "en", "es", "fr", "nl", "pl"]


def test_midnight_is_the_end_of_the_day_before():
    assert messages.moment(dt.datetime(2026, 11, 24, tzinfo=dt.UTC), "en") == "Mon 23 Nov 24:00"


# Texts for staff


DAY = dt.date(2026, 12, 1)
NINE, NOON = dt.time(9), dt.time(12)


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (Slot(date=DAY, window_start=NINE, window_end=NOON), "Tue 1 Dec 2026 09:00-12:00"),
        (
            Slot(date=DAY, window_start=NINE, window_end=NOON, place=Place.POST_OFFICE),
            "Tue 1 Dec 2026 09:00-12:00, post office",
        ),
        (ClosedDay(date=DAY), "Tue 1 Dec 2026"),
    ],
    ids=str,
)
def test_a_row_names_its_day_as_the_pages_of_staff_do(row, shown):
    assert str(row) == shown
    assert shown.startswith(show_day(DAY))
