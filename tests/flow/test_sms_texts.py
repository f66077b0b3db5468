"""The SMS texts of every language: one for each thing we say, and none too long, at the longest names."""

import datetime as dt

import pytest
import time_machine

from bookings.dispatch import bookings as dispatch
from bookings.dispatch import notices
from bookings.language import encoding, messages
from bookings.models import InboundMessage, Notification, Outcome, Place
from bookings.notifications.asking import notify
from bookings.notifications.drafts import draft_notification
from bookings.replies.acknowledgements import Answer
from tests.factories import BookingFactory, SlotFactory

pytestmark = pytest.mark.django_db

LANGUAGES = messages.languages()

#: The notifications, and the pieces that other texts are made of.
ASKING_KINDS = {"notification", "notice"}
PIECES = {"option", "options", "place", "open_notification", "day"}

COMPANY, REFERENCE, PHONE = "Swift & Sure Parcels", "REF-2026-WWW-MMM", "+44 (0)20 7946-00000"
WEDNESDAY = dt.date(2026, 9, 23)  # "Wed 23 Sep": no date is longer in English
AFTERNOON = {"window_start": dt.time(13), "window_end": dt.time(17)}


@pytest.fixture(autouse=True)
def clock(settings):
    settings.COMPANY_NAME, settings.COMPANY_PHONE = COMPANY, PHONE
    assert (len(COMPANY), len(REFERENCE), len(PHONE)) == (20, 16, 20)
    with time_machine.travel("2026-09-22T06:00:00Z", tick=False) as traveller:
        yield traveller


@pytest.fixture(params=LANGUAGES)
def booking(request):
    """A delivery at the post office, whose place takes the most words."""
    post_office = SlotFactory.create(place=Place.POST_OFFICE, date=WEDNESDAY)
    SlotFactory.create(date=WEDNESDAY + dt.timedelta(days=7), **AFTERNOON)
    return BookingFactory.create(reference=REFERENCE, slot=post_office, language=request.param)


@pytest.fixture
def asked(booking, ask) -> Notification:
    """Its three options take the most words, too."""
    door = SlotFactory.create(date=WEDNESDAY, **AFTERNOON)
    next_week = SlotFactory.create(date=WEDNESDAY + dt.timedelta(days=7), **AFTERNOON)
    notification: Notification = ask(booking, slots=[booking.slot, door, next_week])
    return notification


def full(asked):
    slot = asked.options.get(digit=3).slot
    slot.capacity = 0
    slot.save()


def nothing_else(asked):
    for option in asked.options.exclude(digit=1):
        option.slot.capacity = 0
        option.slot.save()


def nothing(asked):
    """Change nothing."""


def kept(asked):
    InboundMessage.objects.create(
        gateway_message_id="1", msisdn=asked.msisdn, notification=asked, outcome=Outcome.KEPT
    )


def moved_by_staff(asked):
    other = SlotFactory.create(
        place=Place.POST_OFFICE, date=WEDNESDAY + dt.timedelta(days=7), **AFTERNOON
    )
    dispatch.move(asked.booking, other)


def cancelled(asked):
    dispatch.cancel(asked.booking)


LATE, PAST = "2026-09-22T22:00:00Z", "2026-09-23T12:00:00Z"
NOW = "2026-09-22T07:00:00Z"

# Text, preparation, time, and the words of the reply.
SAID = {
    "moved": (Answer.MOVED, nothing, NOW, "2"),
    "kept": (Answer.KEPT, nothing, NOW, "1"),
    "kept, nothing else is left": (Answer.KEPT, nothing_else, NOW, "1"),
    "already": (Answer.ALREADY, kept, NOW, "1"),
    "full": (Answer.FULL, full, NOW, "3"),
    "full, nothing else is left": (Answer.FULL, nothing_else, NOW, "3"),
    "too late": (Answer.TOO_LATE, nothing, LATE, "2"),
    "closed": (Answer.CLOSED, moved_by_staff, NOW, "2"),
    "cancelled": (Answer.CLOSED, cancelled, NOW, "2"),
    "past": (Answer.CLOSED, nothing, PAST, "2"),
    "not understood": (Answer.OPTIONS_AGAIN, nothing, NOW, "?!"),
    "cancel": (Answer.CANCEL_ASKED, nothing, NOW, "cancel"),
    "stop": (Answer.OPTED_OUT, nothing, NOW, "stop"),
    "start": (Answer.OPTED_IN, nothing, NOW, "start"),
    "help": (Answer.HELP, nothing, NOW, "help"),
}
LONGER = {Answer.FULL, Answer.OPTIONS_AGAIN}


@pytest.mark.parametrize(("say", "before", "moment", "words"), SAID.values(), ids=SAID)
def test_an_answer_fits_its_parts(clock, asked, reply, say, before, moment, words):
    before(asked)
    clock.move_to(moment)
    answer = reply(asked.msisdn, words).answers.get()
    assert_is_ours(answer.text)
    assert answer.parts <= (2 if say in LONGER else 1), f"{len(answer.text)}: {answer.text}"


@pytest.mark.parametrize("words", ["2", "eh?"])
def test_an_answer_that_names_another_open_notification_fits_two_parts(
    clock, asked, drain, reply, words
):
    other = BookingFactory.create(
        reference=REFERENCE[::-1],
        msisdn=asked.msisdn,
        slot=SlotFactory.create(date=WEDNESDAY + dt.timedelta(days=1)),
        language=asked.booking.language,
    )
    notify(other)
    drain()
    clock.move_to(LATE)
    answer = reply(asked.msisdn, words).answers.get()
    assert other.reference in answer.text
    assert answer.parts <= 2, answer.text


def test_the_notification_fits_two_parts(booking, asked):
    text = asked.outbound_messages.get().text
    assert_is_ours(text)
    assert encoding.count_parts(text) <= 2, f"{len(text)}: {text}"


def test_a_plain_notice_fits_two_parts(booking, drain):
    for _ in range(3):
        notify(BookingFactory.create(msisdn=booking.msisdn))
    drain()
    notice = draft_notification(booking)
    assert notice.options == ()
    assert_is_ours(notice.text)
    assert PHONE in notice.text
    assert notice.parts <= 2, f"{len(notice.text)}: {notice.text}"


def assert_is_ours(text: str) -> None:
    assert text.startswith(f"{COMPANY}: ")
    assert REFERENCE in text
    assert encoding.is_gsm7(text), encoding.costly_characters(text)
    assert "  " not in text


def test_table_holds_every_text():
    assert {say for say, _, _, _ in SAID.values()} == set(Answer) - {Answer.NOTHING}


@pytest.mark.parametrize("change", [moved_by_staff, cancelled], ids=["moved", "cancelled"])
def test_delivery_update_fits_two_parts(asked, drain, change):
    change(asked)
    booking = asked.booking
    booking.refresh_from_db()
    told = notices.send_notice(booking)
    assert_is_ours(told.text)
    assert told.parts <= 2, f"{len(told.text)}: {told.text}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_the_texts_of_english(language):
    texts_of, english = set(messages.texts(language)), set(messages.texts("en"))
    missing, strange = sorted(english - texts_of), sorted(texts_of - english)
    assert not missing, f"Write {missing} in {language}.toml: English has them."
    assert not strange, f"{language}.toml has {strange}, which English has not: nobody reads them."


def test_english_has_a_text_for_everything_we_answer():
    names = set(messages.texts("en"))
    assert {say.value for say in Answer if say} | ASKING_KINDS | PIECES <= names


def test_an_outcome_that_is_answered_has_a_text_of_its_own_name():
    answered = {say.value for say in Answer if say}
    never = {Outcome.THANKS, Outcome.NO_QUESTION, Outcome.UNKNOWN_SENDER, Outcome.NOT_OURS}
    assert answered == set(Outcome.values) - {*never, Outcome.PART, Outcome.ERROR}
