"""Replies in each language but English with their readings, and the completeness of every language."""

import datetime as dt
import itertools
import tomllib
from pathlib import Path

import pytest

from bookings.language import encoding, messages, tokens
from bookings.replies.parser import (
    Cancel,
    Choice,
    Help,
    NotUnderstood,
    OptIn,
    OptOut,
    Thanks,
    parse_reply,
)
from bookings.replies.parser import Words as Printed

TABLES = {path.stem: path for path in (Path(tokens.__file__).parent / "lexicon").glob("*.toml")}
LANGUAGES = sorted(TABLES)
DAYS = [dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in range(0, 365, 5)]

#: By language: choices of 1 and of 2; thanks; opt-outs; those who ask politely; what must not be guessed.
SAID = {
    "es": {
        1: (
            "1|uno|opción 1|opcion uno|la primera opción|quiero la 1|1 por favor|"
            "Hola, 1, gracias|número 1|prefiero la opción 1|1ª opción|Elijo el 1"
        ),
        2: (
            "2|dos|DOS!|opción 2|la segunda opción|me quedo con la 2|2 gracias|vale, 2|"
            "sí, 2|buenos días, la opción 2|2 me viene bien|2 (jue 26 nov)"
        ),
        "thanks": "ok|gracias|Muchas gracias!|vale|sí|perfecto",
        "out": "STOP|baja|BAJA.|darme de baja|unsubscribe|parar",
        "asks": (
            "por favor deje de enviarme mensajes|no quiero más SMS|no me escriban más|"
            "por favor no me envíen más mensajes|quiero darme de baja por favor|"
            "stop por favor"
        ),
        "no": (
            "1 o 2|1 y 2|no 1|la 1 no|ni 1 ni 2|a las 2|a la una|la una|1 saludo|2 besos|"
            "un segundo|las dos|uno u otro|el 2|mañana a las 2|la 2?|12|2 de la tarde|"
            "salu2|menos la 1|después de las 2|un momento"
        ),
    },
    "fr": {
        1: (
            "1|un|option 1|l'option 1|l'option un|la première option|je prends la 1|1 svp|"
            "Bonjour, 1 merci|n° 1|numéro un|1ère option"
        ),
        2: (
            "2|deux|option 2|la deuxième option|je choisis le 2|2 s'il vous plaît|"
            "d'accord, 2|oui 2|la 2|2 me convient|2 (jeu 26 nov)|le choix 2"
        ),
        "thanks": "ok|merci|Merci beaucoup|d'accord|oui|parfait|un grand merci",
        "out": "STOP|arrêt|ARRÊT|ARRET|désabonner|Arrêtez|me désinscrire",
        "asks": (
            "merci d'arrêter de m'envoyer des SMS|s'il vous plaît arrêtez de m'écrire|"
            "ne m'envoyez plus de messages|je ne veux plus de sms|supprimez mon numéro svp|"
            "stop svp"
        ),
        "no": (
            "1 ou 2|1 et 2|pas 1|pas le 1|ni 1 ni 2|à 2 heures|une fois|1 grand merci|"
            "2 rien|un instant|les deux|l'un ou l'autre|le 2|demain à 2h|la 2?|12|sauf 1|"
            "non 2|plutôt que 1|après 2|bureau 2|1 et demi"
        ),
    },
    "de": {
        1: (
            "1|eins|Option 1|Option eins|die erste Option|ich nehme die 1|1 bitte|"
            "Hallo, 1 danke|Nr. 1|Nummer 1|die 1|Guten Morgen, 1"
        ),
        2: (
            "2|zwei|ZWEI!|Option 2|die zweite Option|ich möchte die 2|ich moechte 2|"
            "2 danke|ja, 2|gerne 2|2 passt mir|2 (Do 26. Nov)"
        ),
        "thanks": "ok|danke|Vielen Dank!|alles klar|ja|passt",
        "out": "STOP|stopp|ABMELDEN|abbestellen|Ende|unsubscribe|keine SMS mehr",
        "asks": (
            "bitte keine SMS mehr|bitte hören Sie auf, mir zu schreiben|"
            "schreiben Sie mir bitte nicht mehr|ich möchte keine Nachrichten|"
            "löschen Sie meine Nummer|bitte stop"
        ),
        "no": (
            "1 oder 2|1 und 2|nicht 1|nicht die 1|weder 1 noch 2|um 2|um eins|1a|"
            "ein Moment|1 Moment|beide|alle beide|am 2.|morgen um 2|die 2?|12|außer 1|"
            "nein 2|keine 1|nach 2|2 Uhr|bis 2|eine von beiden|statt 1"
        ),
    },
    "nl": {
        1: (
            "1|een|één|optie 1|optie een|de eerste optie|ik kies 1|1 graag|Hallo, 1 aub|"
            "nr 1|nummer 1|doe maar 1"
        ),
        2: (
            "2|twee|TWEE!|optie 2|de tweede optie|ik neem 2|2 a.u.b.|ja, 2|prima, 2|"
            "liever 2|2 is prima|2 (do 26 nov)"
        ),
        "thanks": "ok|bedankt|Dank u wel!|prima|ja|akkoord",
        "out": "STOP|AFMELDEN|afmelden.|uitschrijven|stoppen|unsubscribe|geen sms meer",
        "asks": (
            "stuur me geen berichten meer|geen sms meer aub|graag afmelden a.u.b.|"
            "verwijder mijn nummer|wilt u mij niet meer sms'en|stop alstublieft"
        ),
        "no": (
            "1 of 2|1 en 2|niet 1|niet de 1|liever niet 2|om 2|om een uur|een moment|"
            "1 moment|allebei|een van de twee|op de 2e|morgen om 2|optie 2?|12|behalve 1|"
            "nee 2|geen 2|na 2|2 uur|een dag|goeie 1|een of twee"
        ),
    },
    "pl": {
        1: (
            "1|jeden|opcja 1|opcja jeden|pierwsza opcja|wybieram 1|1 proszę|"
            "Dzień dobry, 1, dziękuję|nr 1|numer 1|wybieram opcję 1|jedynka"
        ),
        2: (
            "2|dwa|DWA!|opcja 2|druga opcja|drugą opcję|wolę 2|2 poproszę|tak, 2|dobrze, 2|"
            "2 mi pasuje|2 (czw 26 lis)"
        ),
        "thanks": "ok|dziękuję|Dzięki!|dobrze|tak|w porządku",
        "out": "STOP|REZYGNUJĘ|rezygnuje|wypisz mnie|koniec|unsubscribe",
        "asks": (
            "proszę przestać do mnie pisać|proszę nie wysyłać mi SMS-ów|"
            "nie piszcie do mnie|proszę usunąć mój numer|nie chcę więcej wiadomości|"
            "proszę stop"
        ),
        "no": (
            "1 lub 2|1 albo 2|1 i 2|nie 1|nie jeden|ani 1 ani 2|o 2|jeden raz|1 raz|"
            "jedna chwila|oba|jeden z dwóch|na 2|jutro o 2|opcja 2?|12|oprócz 1|nie, 2|"
            "żadna|po 2|2 razy|zamiast 1|do 2"
        ),
    },
}
#: Opt-in, help, cancel.
OTHERS = {
    "es": ("alta", "ayuda", "cancelar"),
    "fr": ("reprendre", "aide", "annuler"),
    "de": ("anmelden", "Hilfe!", "stornieren"),
    "nl": ("aanmelden", "hulp", "annuleren"),
    "pl": ("wznów", "pomoc", "anuluj"),
}
POLITE_STOPS = {language: said["asks"].split("|") for language, said in SAID.items()} | {
    "en": [
        "please stop texting me",
        "no more texts please",
        "take me off your list",
        "please remove my number",
        "don't text me again",
    ]
}


def lines(kind: object) -> list[tuple[str, str]]:
    return [(language, text) for language, said in SAID.items() for text in said[kind].split("|")]


@pytest.mark.parametrize(("language", "text"), lines(1))
def test_examples_of_option_one_choose_option_one(language, text):
    assert parse_reply(text, language) == Choice(1)


@pytest.mark.parametrize(("language", "text"), lines(2))
def test_examples_of_option_two_choose_option_two(language, text):
    reply = parse_reply(text, language)
    thursday = Printed(day=26, month=11, weekday=3)
    assert reply == (Choice(2, thursday) if "26" in text else Choice(2))


@pytest.mark.parametrize(("language", "text"), lines("thanks"))
def test_politeness_chooses_nothing(language, text):
    assert isinstance(parse_reply(text, language), Thanks)


@pytest.mark.parametrize(("language", "text"), lines("out"))
def test_opt_out_examples_opt_out(language, text):
    assert isinstance(parse_reply(text, language), OptOut)


@pytest.mark.parametrize(
    ("language", "text"),
    [(language, text) for language, texts_ in POLITE_STOPS.items() for text in texts_],
)
def test_a_polite_stop_reaches_a_person(language, text):
    reply = parse_reply(text, language)
    is_out = isinstance(reply, OptOut)  # politeness aside nothing else stood there
    assert is_out or (isinstance(reply, NotUnderstood) and reply.wants_out), reply


@pytest.mark.parametrize(("language", "text"), lines("no"))
def test_ambiguous_text_is_not_guessed(language, text):
    reply = parse_reply(text, language)
    assert not isinstance(reply, Choice | Printed), reply


@pytest.mark.parametrize("language", SAID)
def test_each_language_has_sixty_examples(language):
    assert sum(len(text.split("|")) for text in SAID[language].values()) >= 60


@pytest.mark.parametrize("language", SAID)
def test_start_help_and_cancel_in_each_language_and_in_english(language):
    for opt_in, help_, cancel in (OTHERS[language], ("START", "HELP", "CANCEL")):
        assert isinstance(parse_reply(opt_in, language), OptIn)
        assert isinstance(parse_reply(help_, language), Help)
        assert isinstance(parse_reply(cancel, language), Cancel)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_number_word_beside_another_is_a_choice(language):
    table = tomllib.loads(TABLES[language].read_text("utf-8"))
    single = [name for names in table["numbers"] for name in names]
    single += table.get("number_or_article", [])
    for one, other in itertools.product(single, repeat=2):
        assert not isinstance(parse_reply(f"{one} {other}", language), Choice), (one, other)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("negation", range(30))
def test_no_negation_lets_a_digit_through(language, negation):
    negations = tomllib.loads(TABLES[language].read_text("utf-8"))["negations"]
    said = negations[negation % len(negations)]
    for text in (f"{said} 1", f"1 {said}", f"{said}, 2"):
        assert not isinstance(parse_reply(text, language), Choice), text


# Printed dates and words can be read back


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_printed_date_can_be_written_back_and_is_gsm7(language):
    for date in DAYS:
        printed = messages.day(date, language)
        assert encoding.is_gsm7(printed), printed
        expected = Printed(day=date.day, month=date.month, weekday=date.weekday())
        assert parse_reply(printed, language) == expected, printed
        assert parse_reply(f"2 ({printed})", language) == Choice(2, expected), printed


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_country_does_not_change_the_language(language):
    assert messages.day(DAYS[0], f"{language}-XX") == messages.day(DAYS[0], language)


def test_an_unknown_language_is_english():
    assert messages.day(DAYS[0], "xx") == "Thu 1 Jan"


# A language is a table of texts and a table of words


def test_every_language_has_a_table_of_texts_and_a_table_of_words():
    written = set(messages.languages())
    for language in written | set(LANGUAGES):
        assert language in written, (
            f"Write the texts of {language}: bookings/language/texts/{language}.toml."
        )
        assert language in TABLES, (
            f"Write the words of {language}: bookings/language/lexicon/{language}.toml."
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_list_of_english_is_in_every_word_table(language):
    table, english = (tomllib.loads(TABLES[name].read_text("utf-8")) for name in (language, "en"))
    either = {"number_or_pronoun", "number_or_article"}  # one of the two
    for name in english.keys() - either - {"signs"}:
        assert table.get(name), f"Write the list {name} of {language}: {TABLES[language]}."
    assert table.keys() & either, f"Write the list number_or_article of {language}."
    for name, count in (("weekdays", 7), ("months", 12), ("numbers", 9), ("ordinals", 9)):
        entries = table[name]
        assert len(entries) == count, f"{name} of {language} needs {count} entries."
