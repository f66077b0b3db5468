"""The answers of the demo's customers: most with a digit within hours, some with words, some never."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils import timezone

from bookings.management.demo.company import Company
from bookings.management.demo.replies import Replies
from bookings.models import Notification

KEEP, ANOTHER_DAY, POST_OFFICE = 0, 1, 2

_MINUTE = dt.timedelta(minutes=1)
#: How many answer at once, and how many before they go to sleep: all others answer the next day.
_SHARE_AT_ONCE, _SHARE_THAT_DAY = 0.35, 0.3
_SLEEP = (dt.time(22, 30), dt.time(7))
#: Ways of writing one digit.
_FORMS = ("{}", "{}", "{}", "{}", "{}", "{}", "{}.", "{} please", "option {}", "#{}", "{}!", "({})")
_UNCLEAR = (
    "hm, which days are there?",
    "can you come after 5?",
    "I moved house last week",
    "what is in it?",
    "my neighbour at 14 can take it",
)
#: Answers that come one after the other, and how often a hundred customers give them.
_SCRIPTS: Sequence[tuple[float, tuple[int | str, ...]]] = (
    (36.0, ()),
    (31.0, (KEEP,)),
    (13.0, (ANOTHER_DAY,)),
    (7.0, (POST_OFFICE,)),
    (2.5, (ANOTHER_DAY, KEEP)),
    (1.5, (KEEP, POST_OFFICE)),
    (3.0, (KEEP, "thanks!")),
    (1.0, ("ok thank you",)),
    (1.5, (_UNCLEAR[0], ANOTHER_DAY)),
    (0.7, (_UNCLEAR[1], "as late as possible", KEEP)),
    (0.8, (_UNCLEAR[2], _UNCLEAR[4])),
    (0.8, ("STOP",)),
    (0.5, ("HELP", KEEP)),
    (0.4, ("please stop texting me",)),
    (0.3, ("CANCEL",)),
)


@dataclass(slots=True)
class Customers:
    """Answers what the company asks."""

    company: Company
    replies: Replies
    #: What certain customers write, with the moments, by number: nothing else comes from them.
    scripted: dict[str, list[tuple[dt.datetime, int | str]]] = field(default_factory=dict)
    #: Numbers that answer after the close.
    late: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.company.on_asked = self.plan

    def plan(self, asked: Notification, at: dt.datetime) -> None:
        """Plan what this customer will write, and when."""
        company = self.company
        if asked.msisdn in company.bad_phones:
            return
        if asked.msisdn in self.scripted:
            for moment, said in self.scripted[asked.msisdn]:
                self._write(asked, said, max(moment, at + _MINUTE))
        elif asked.msisdn in self.late:
            self._write(asked, ANOTHER_DAY, asked.closes_at + company.seconds(600, 5000))
        else:
            self._draw(asked, at)

    def _draw(self, asked: Notification, at: dt.datetime) -> None:
        """Let chance say what this customer writes, as far as the time to answer reaches."""
        _, script = self.company.chance.choices(_SCRIPTS, [weight for weight, _ in _SCRIPTS])[0]
        moment = at
        for number, said in enumerate(script):
            pause = self.company.seconds(40, 1500 * number)
            moment = moment + pause if number else self._first_moment(asked, at)
            if moment < asked.closes_at - _MINUTE:
                self._write(asked, said, moment)

    def _first_moment(self, asked: Notification, at: dt.datetime) -> dt.datetime:
        """When the first answer comes: within the hour, the day or the next morning, and not at night."""
        chance = self.company.chance
        draw = chance.random()
        if draw < _SHARE_AT_ONCE:
            wait = chance.expovariate(1 / 35)
        elif draw < _SHARE_AT_ONCE + _SHARE_THAT_DAY:
            wait = chance.uniform(40, 320)
        else:
            wait = chance.uniform(820, 1700)
        moment = at + _MINUTE / 2 + wait * _MINUTE
        asleep_from, awake_at = _SLEEP
        clock = timezone.localtime(moment).time()
        if clock >= asleep_from or clock < awake_at:
            day = timezone.localdate(moment) + dt.timedelta(days=clock >= asleep_from)
            morning = timezone.make_aware(dt.datetime.combine(day, awake_at)).astimezone(dt.UTC)
            moment = morning + chance.expovariate(1 / 60) * _MINUTE
        if moment > asked.closes_at - 10 * _MINUTE:
            moment = at + _MINUTE + chance.expovariate(1 / 40) * _MINUTE
        return moment

    def _write(self, asked: Notification, said: int | str, at: dt.datetime) -> None:
        words = said if isinstance(said, str) else self._choose(asked, said)
        self.company.at(at, self.send, asked.msisdn, words)

    def send(self, msisdn: str, words: str, at: dt.datetime) -> None:
        """Let a text of this number come in."""
        self.replies.receive(msisdn, words, at)

    def _choose(self, asked: Notification, wanted: int) -> str:
        """Words for one of the options: that one, or the last there is."""
        options = self.company.printed[asked.pk]
        if not options:
            return "ok"
        option = options[min(wanted, len(options) - 1)]
        return self.company.chance.choice(_FORMS).format(option.digit)
