"""The alphabet of an SMS, GSM-7 or UCS-2, and the number of parts that a text is billed as."""

import unicodedata

# GSM 03.38 as Vonage prints it (concatenation and encoding guide). Those of the extension take two septets.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€")

#: What one SMS holds, alone and as a part: GSM-7 septets, and (True) UCS-2 units.
FULL = {False: (160, 153), True: (70, 67)}


def costly_characters(text: str) -> list[str]:
    """Return the characters outside GSM-7, in order, each once. Why: one of them makes the whole SMS UCS-2."""
    return [char for char in dict.fromkeys(text) if char not in _BASIC and char not in _EXTENDED]


#: Cheap characters that look alike, for characters whose plain form Unicode does not know.
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
    """Return the text without the characters that make it dearer, or unchanged if any would be left.

    Typographic signs become their plain forms; letters with an accent outside GSM-7 lose it.
    """
    folded = "".join(char if is_gsm7(char) else _without_accent(char) for char in text)
    return folded if is_gsm7(folded) else text


def _without_accent(char: str) -> str:
    told_apart = unicodedata.normalize("NFKD", char.translate(_PLAIN))
    return "".join(sign for sign in told_apart if not unicodedata.combining(sign))


def is_gsm7(text: str) -> bool:
    """Return True if every character is in the alphabet of GSM-7."""
    return not costly_characters(text)


def measure(text: str, *, is_unicode: bool) -> int:
    """Return how much of an SMS a text takes: septets of GSM-7, or UCS-2 units."""
    return sum(_sizes(text, is_unicode=is_unicode))


def _sizes(text: str, *, is_unicode: bool) -> list[int]:
    return [1 + (char > "\uffff" if is_unicode else char in _EXTENDED) for char in text]


def count_parts(text: str) -> int:
    """Return how many SMS a text is billed as: 160 septets or 70 UCS-2 units alone, 153 or 67 each when joined."""
    is_unicode = not is_gsm7(text)
    sizes, (alone, joined) = _sizes(text, is_unicode=is_unicode), FULL[is_unicode]
    if sum(sizes) <= alone:
        return 1
    parts, room = 1, joined
    for size in sizes:  # a character that takes two is never split between parts
        if size > room:
            parts, room = parts + 1, joined
        room -= size
    return parts
