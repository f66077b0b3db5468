"""Rules for bookings and replies: staff book, move and cancel; customers and their autoresponders reply."""

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from bookings.dispatch import bookings as dispatch
from bookings.notifications import asking
from bookings.outbox.circuit import close_circuit
from tests.campaigns.states.base_machine import BaseMachine
from tests.campaigns.states.reference_model import Delivery

PHONES = ["447700900001", "447700900002", "447700900003"]
STRANGER = "447700900099"
FORMS = ["{}", " {}.", "option {}", "({}) thanks", "#{}", "{} please", "{}!!"]
ODD = [
    "1 or 2",
    "12",
    "2 3",
    "not 1",
    "2pm",
    "after 10",
    "stop 2",
    "4 and 5",
    "",
    "hello?",
    "ok thanks",
    "HELP",
]

pick = st.integers(0, 5)
phone = st.sampled_from(PHONES)


class BookingAndReplyRules(BaseMachine):
    """Rules for staff who change bookings and for customers who reply."""

    # Staff

    @initialize(quiet=st.booleans())
    def notify_two_customers(self, *, quiet: bool) -> None:
        """Book and notify two customers, with or without quiet hours."""
        if quiet:
            self.simulation.keep_quiet_hours()
        for number in (0, 1):
            self.book(number, PHONES[number], 2, number)
            self.notify(number)
        self.send_all()

    @rule(number=pick, msisdn=phone, days=st.integers(1, 3), window=st.integers(0, 1))
    def book(self, number: int, msisdn: str, days: int, window: int) -> None:
        reference, slot = f"P-{number}", self._slot(days, window)
        try:
            dispatch.book(
                reference=reference, customer_name="A", msisdn=msisdn, slot=self._unsaved(slot)
            )
        except dispatch.CannotBook:
            return
        self.model.deliveries[reference] = Delivery(msisdn=msisdn, slot=slot)

    @rule(number=pick)
    def notify(self, number: int) -> None:
        booking = self._booking(number)
        if booking is None:
            return
        try:
            asking.notify(booking)
        except asking.CannotNotify:
            return
        self.model.withdraw(booking.reference, self.simulation.now)
        self.tally["notifications"] += 1

    @rule(number=pick, days=st.integers(1, 3), window=st.integers(0, 1))
    def move(self, number: int, days: int, window: int) -> None:
        booking, slot = self._booking(number), self._slot(days, window)
        if booking is None:
            return
        try:
            if dispatch.move(booking, self._unsaved(slot)):
                self.model.change(booking.reference, self.simulation.now, slot=slot)
        except dispatch.CannotBook:
            return

    @rule(number=pick)
    def cancel(self, number: int) -> None:
        if booking := self._booking(number):
            dispatch.cancel(booking)
            self.model.change(booking.reference, self.simulation.now, is_cancelled=True)

    @rule(number=pick)
    def reinstate(self, number: int) -> None:
        booking = self._booking(number)
        if booking is None or booking.is_scheduled:
            return
        try:
            dispatch.reinstate(booking)
        except dispatch.CannotBook:
            return
        self.model.change(booking.reference, self.simulation.now, is_cancelled=False)

    @rule(number=pick, msisdn=phone)
    def change_phone(self, number: int, msisdn: str) -> None:
        booking = self._booking(number)
        if booking is not None and booking.msisdn != msisdn:
            dispatch.change_phone(booking, msisdn)
            self.model.change(booking.reference, self.simulation.now, msisdn=msisdn)

    @rule()
    def close_circuit_by_hand(self) -> None:
        close_circuit()
        self.simulation.circuit_opened_at = None

    # Customers

    @rule(
        msisdn=phone,
        which=st.sampled_from([0, 0, 1, 2, 4]),
        form=st.sampled_from(FORMS),
        fault=st.sampled_from([0, 0, 0, 4, 12, 20]),
    )
    def reply(self, msisdn: str, which: int, form: str, fault: int) -> None:
        """Reply with a digit that this phone was sent. With `fault` the database fails at that query of the webhook."""
        digit = self._printed(msisdn, which)
        self._write(msisdn, form.format(digit), digit, fault=fault)

    @rule(msisdn=phone, which=pick, of=phone)
    def reply_with_digit_of_another(self, msisdn: str, which: int, of: str) -> None:
        digit = self._printed(of, which)
        self._write(msisdn, str(digit), digit)

    @rule(msisdn=phone, text=st.sampled_from(ODD))
    def write_unclear_text(self, msisdn: str, text: str) -> None:
        self._write(msisdn, text, None)

    @rule(
        msisdn=st.sampled_from([*PHONES, STRANGER]), word=st.sampled_from(["STOP", "stop", "START"])
    )
    def opt_out_or_in(self, msisdn: str, word: str) -> None:
        self._write(msisdn, word, "out" if word.upper() == "STOP" else "in")

    @rule(msisdn=phone, which=pick, order=st.permutations([1, 2, 3]), missing=st.booleans())
    def send_long_text(self, msisdn: str, which: int, order: list[int], *, missing: bool) -> None:
        """Send a text in three parts in any order. A missing part may be delivered later by `redeliver`."""
        digit = self._printed(msisdn, which)
        texts = ["Good morning, ", "please could I have ", f"option {digit}"]
        long = f"long-{len(self.simulation.requests)}"
        parts = [
            self._request(
                msisdn, texts[n - 1], digit, concat_ref=long, concat_part=str(n), concat_total="3"
            )
            for n in order
        ]
        for part in parts[: 2 if missing else 3]:
            self.simulation.deliver(part)
        self.simulation.requests += parts[2:]

    @rule(
        msisdn=phone,
        text=st.sampled_from(["I am driving.", "No reply by this number!", "ok", "2pm"]),
    )
    def autoresponder_replies(self, msisdn: str, text: str) -> None:
        """Let an autoresponder reply to whatever it gets, four times at once."""
        for _ in range(4):
            self._write(msisdn, text, None)
            self.send_all()
