"""People who do not exist: names, and phone numbers that regulators keep free for fiction."""

from collections.abc import Sequence

from django.conf import settings

#: Ofcom, "Telephone numbers for drama": 07700 900000 to 900999.
_GB = tuple(f"447700900{number:03}" for number in range(1000))
#: Ofcom: London 020 7946 0000 to 0999. A fixed line gets no SMS.
_GB_FIXED = tuple(f"442079460{number:03}" for number in range(100, 110))
#: Arcep, decision 2018-0881: 06 39 98 is for films.
_FR = tuple(f"3363998{number:04}" for number in range(1000))


def _north_american(*area_codes: str) -> tuple[str, ...]:
    """NANPA: 555-0100 to 555-0199 of each area code."""
    return tuple(f"1{area}555{number:04}" for area in area_codes for number in range(100, 200))


_MOBILES = {
    "GB": _GB,
    "FR": _FR,
    "US": _north_american("202", "212", "305", "312", "404", "415", "512", "617", "702", "713"),
    "CA": _north_american("204", "306", "403", "416", "506", "514", "604", "613", "709", "902"),
}
_FIXED_LINES = {"GB": _GB_FIXED}
#: Where no regulator is known to us that keeps so many numbers free.
_OTHERWISE = "GB"


def mobiles() -> Sequence[str]:
    """Return a thousand numbers of the company's own country (of GB where no such range is known), without our own."""
    numbers = _MOBILES.get(settings.PHONE_REGION, _MOBILES[_OTHERWISE])
    return [number for number in numbers if number not in settings.VONAGE_NUMBERS]


def fixed_lines() -> Sequence[str]:
    """Return numbers that cannot get SMS; none where fixed lines cannot be told from mobiles."""
    return _FIXED_LINES.get(
        settings.PHONE_REGION, () if settings.PHONE_REGION in _MOBILES else _GB_FIXED
    )


def is_fixed_line(msisdn: str) -> bool:
    return msisdn in _GB_FIXED


FIRST_NAMES = (
    *("Aisha", "Alice", "Amir", "Andrew", "Anna", "Ben", "Bethan", "Callum", "Carys", "Charlotte"),
    *("Chloe", "Daniel", "David", "Dev", "Eleanor", "Ella", "Emma", "Ewan", "Farah", "Fiona"),
    *("Freya", "George", "Grace", "Hannah", "Harry", "Imran", "Isla", "Jack", "James", "Jasmine"),
    *("Jessica", "Joanna", "Kasia", "Katie", "Kieran", "Laura", "Leah", "Lewis", "Lucy", "Maria"),
    *("Marek", "Megan", "Mohammed", "Natalie", "Nia", "Niamh", "Oliver", "Olivia", "Owen", "Paul"),
    *("Priya", "Rachel", "Rhys", "Robert", "Rosie", "Ryan", "Samira", "Sarah", "Sean", "Shreya"),
    *("Sophie", "Stephen", "Thomas", "Tom", "Victoria", "William", "Yasmin", "Zara", "Zoe"),
)
LAST_NAMES = (
    *(
        "Ahmed",
        "Ali",
        "Allen",
        "Anderson",
        "Bailey",
        "Baker",
        "Begum",
        "Bennett",
        "Brown",
        "Campbell",
    ),
    *(
        "Carter",
        "Clark",
        "Collins",
        "Cooper",
        "Cox",
        "Davies",
        "Edwards",
        "Evans",
        "Fraser",
        "Garcia",
    ),
    *(
        "Green",
        "Griffiths",
        "Hall",
        "Harris",
        "Hughes",
        "Hussain",
        "Jackson",
        "James",
        "Jones",
        "Kaur",
    ),
    *("Kelly", "Khan", "King", "Kowalska", "Lewis", "MacDonald", "Martin", "Mitchell", "Moore"),
    *("Morgan", "Morris", "Murphy", "Murray", "Nowak", "O'Brien", "Okafor", "Parker", "Patel"),
    *("Phillips", "Price", "Reid", "Roberts", "Robinson", "Scott", "Shah", "Singh", "Smith"),
    *("Stewart", "Taylor", "Thomas", "Thompson", "Turner", "Walker", "Ward", "Watson", "White"),
    *("Williams", "Wilson", "Wood", "Wright", "Young"),
)
NOTES = (
    *("", "", "", "", "", "", "", "", "Leave with the concierge.", "Ring twice.", "Two parcels."),
    *("Fragile.", "Blue door.", "Third floor, no lift."),
)
