"""Rules for staff: changes with notices, batches of notifications, tickets, opt-outs by phone, spreadsheets."""

import csv
import datetime as dt
import io
from collections.abc import Callable

from django.contrib.auth.models import User
from django.db.models import Min
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from bookings.admin.bookings import move_many
from bookings.admin.shared.row_versions import seen_words
from bookings.customers import consent
from bookings.dispatch import ticket_actions
from bookings.dispatch.imports import stepwise
from bookings.dispatch.notices import Method
from bookings.models import (
    Batch,
    BatchEntry,
    Booking,
    Manifest,
    Notification,
    Slot,
    SlotOption,
    Ticket,
)
from bookings.notifications import batches
from bookings.outbox.claiming import due_now
from bookings.scheduling import offers
from tests.campaigns.states.booking_and_reply_rules import PHONES, BookingAndReplyRules, phone, pick
from tests.campaigns.states.invariant_checks import DatabaseSnapshot
from tests.campaigns.states.reference_model import Delivery, require
from tests.campaigns.states.sms_reader import SlotKey
from tests.processes import VIRTUAL_NUMBER

clerk = st.integers(0, 1)
new = st.integers(2, 9)  # P-0 and P-1 are booked from the start
rows = st.lists(
    st.tuples(pick, phone, st.integers(1, 3), st.integers(0, 1)),
    min_size=1,
    max_size=4,
    unique_by=lambda row: row[0],
)
COLUMNS = ["reference", "customer_name", "phone", "date", "window_start", "window_end", "capacity"]


class StaffRules(BookingAndReplyRules):
    """Rules for what staff do on the pages of the admin."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Batch] = []
        self.sheets: list[tuple[Manifest, dict[str, tuple[str, SlotKey]]]] = []

    # Changes of which customers are informed

    @rule(
        number=pick, days=st.integers(1, 3), window=st.integers(0, 1), how=st.sampled_from(Method)
    )
    def move_and_tell(self, number: int, days: int, window: int, how: Method) -> None:
        slot = self._slot(days, window)
        unsaved = self._unsaved(slot)
        if unsaved._state.adding:
            unsaved.save()
        if self._change(number, unsaved, how):
            self.model.change(f"P-{number}", self.simulation.now, slot=slot)

    @rule(number=pick, how=st.sampled_from([Method.SMS, Method.PHONE, Method.NOBODY]))
    def cancel_and_tell(self, number: int, how: Method) -> None:
        if self._change(number, None, how):
            self.model.change(f"P-{number}", self.simulation.now, is_cancelled=True)

    def _change(self, number: int, slot: Slot | None, how: Method) -> bool:
        booking = self._booking(number)
        if booking is None:
            return False
        seen = seen_words([booking])
        done = move_many.change([booking], slot, seen, how, self._clerk(0))
        return bool(done.count)

    # Batches

    @rule(
        numbers=st.sets(pick, min_size=1, max_size=4),
        with_reminder=st.sampled_from([True, True, False]),
    )
    def start_batch(self, numbers: set[int], *, with_reminder: bool) -> None:
        chosen = Booking.objects.filter(reference__in=[f"P-{number}" for number in numbers])
        batch = batches.start_batch(
            chosen,
            nonce=f"page-{len(self.batches)}",
            user=self._clerk(0),
            sender=VIRTUAL_NUMBER,
            with_reminder=with_reminder,
        )
        self.batches.append(batch)

    @rule(numbers=st.sets(new, min_size=1, max_size=3), days=st.integers(2, 3))
    def notify_new_deliveries(self, numbers: set[int], days: int) -> None:
        """Book new deliveries and notify all their customers in a batch with reminders."""
        for number in sorted(numbers):
            self.book(number, PHONES[number % len(PHONES)], days, number % 2)
        self.start_batch(numbers, with_reminder=True)
        self.ask_waiting_customers(len(numbers))
        self.send_all()

    @rule(most=st.integers(1, 3))
    def ask_waiting_customers(self, most: int) -> None:
        waiting = list(BatchEntry.objects.waiting().values_list("pk", flat=True))
        batches.ask_waiting(most)
        for entry in BatchEntry.objects.filter(pk__in=waiting, notification__isnull=False):
            require(
                entry.batch_id not in self.simulation.stopped_at, "a stopped batch asked a customer"
            )
            self.model.withdraw(entry.booking.reference, self.simulation.now)
            self.tally["notifications of batches"] += 1

    @precondition(lambda self: self.batches)
    @rule(
        which=pick,
        turn=st.sampled_from([batches.pause_batch, batches.resume_batch, batches.cancel_batch]),
    )
    def change_batch(self, which: int, turn: Callable[[Batch, User], bool]) -> None:
        batch = self.batches[-1 - which % len(self.batches)]
        answers = self._answers_that_may_go()
        if not turn(batch, self._clerk(0)):
            return
        require(answers <= self._answers_that_may_go(), "I1: a batch that stops holds answers back")
        stopped_at = self.simulation.stopped_at
        if turn is batches.resume_batch:
            del stopped_at[batch.pk]
        else:
            stopped_at[batch.pk] = (self.simulation.now, turn is batches.cancel_batch)

    def _answers_that_may_go(self) -> set[int]:
        waiting = due_now(self.simulation.now).order_by().filter(in_reply_to__isnull=False)
        return set(waiting.values_list("pk", flat=True))

    @precondition(lambda self: self.batches)
    @rule()
    def advance_to_reminder(self) -> None:
        """Advance to the next reminder. Why: random jumps of hours seldom end between a reminder and the close."""
        asked = Notification.objects.open().filter(batch_entry__isnull=False)
        next_at = asked.filter(handed_over_at__isnull=False).aggregate(at=Min("remind_at"))["at"]
        if next_at is not None and next_at > self.simulation.now:
            self.simulation.advance(next_at - self.simulation.now)
        self.simulation.sweep()

    # Tickets

    @rule(
        which=pick,
        who=clerk,
        act=st.sampled_from(["take", "take", "let_go", "told_by_phone", "set_aside", "opt_out"]),
    )
    def act_on_ticket(self, which: int, who: int, act: str) -> None:
        found = self._waiting(which, who)
        if found is None:
            return
        ticket, is_anothers = found
        try:
            getattr(ticket_actions, act)(ticket, self._clerk(who))
        except ticket_actions.CannotAct:
            return
        require(act == "take" or not is_anothers, "two people saw to one customer")
        self.tally["acts on tickets"] += 1
        if act == "opt_out":
            self.model.opted_out[ticket.msisdn] = "sms"

    @rule(which=pick, who=clerk)
    def answer(self, which: int, who: int) -> None:
        found = self._waiting(which, who)
        if found is None:
            return
        ticket, is_anothers = found
        nonce = f"form-{self.steps}"
        try:
            ticket_actions.answer_by_text(
                ticket, "We call you in the morning.", self._clerk(who), nonce=nonce
            )
        except ticket_actions.CannotAct:
            return
        require(not is_anothers, "two people answered one customer")
        self.tally["answers of staff"] += 1

    @rule(which=pick, who=clerk, of=pick)
    def apply_option(self, which: int, who: int, of: int) -> None:
        found = self._waiting(which, who)
        offered = (
            [
                option
                for asked in ticket_actions.list_notifications(found[0])
                for option in offers.options_of(asked)
            ]
            if found
            else []
        )
        if found is None or not offered:
            return
        ticket, is_anothers = found
        option = offered[of % len(offered)]
        try:
            ticket_actions.choose_option(ticket, option, self._clerk(who))
        except ticket_actions.CannotAct:
            return
        require(not is_anothers, "two people saw to one customer")
        self.tally["options applied by staff"] += 1
        self._moved_by_staff(option)

    def _moved_by_staff(self, option: SlotOption) -> None:
        reference = option.notification.booking.reference
        slot = _slot_key(option.slot)
        if self.model.deliveries[reference].slot != slot:
            self.model.change(reference, self.simulation.now, slot=slot)

    def _waiting(self, which: int, who: int) -> tuple[Ticket, bool] | None:
        """Return a waiting ticket, and True if another staff member has taken over this customer."""
        waiting = list(Ticket.objects.waiting().order_by("pk"))
        if not waiting:
            return None
        ticket = waiting[which % len(waiting)]
        others = {row.owner_id for row in waiting if row.msisdn == ticket.msisdn}
        return ticket, bool(others - {None, self._clerk(who).pk})

    @rule(msisdn=phone, is_out=st.booleans())
    def record_consent_by_phone(self, msisdn: str, *, is_out: bool) -> None:
        consent.change_by_staff(
            self._clerk(0), msisdn, "Said so on the phone.", is_opted_out=is_out
        )
        if is_out:
            self.model.opted_out[msisdn] = "sms"
        else:
            self.model.opted_out.pop(msisdn, None)

    # Spreadsheets

    @rule(rows=rows)
    def start_import(self, rows: list[tuple[int, str, int, int]]) -> None:
        said = {
            f"P-{number}": (msisdn, self._slot(days, window))
            for number, msisdn, days, window in rows
        }
        self._import(said)

    @precondition(lambda self: self.sheets)
    @rule(which=pick)
    def start_same_import_again(self, which: int) -> None:
        self._import(self.sheets[-1 - which % len(self.sheets)][1])

    def _import(self, said: dict[str, tuple[str, SlotKey]]) -> None:
        sheet = io.StringIO()
        table = csv.writer(sheet)
        table.writerow(COLUMNS)
        for reference, (msisdn, slot) in said.items():
            window = (slot.date.isoformat(), f"{slot.start:%H:%M}", f"{slot.end:%H:%M}")
            table.writerow([reference, "A", f"+{msisdn}", *window, self.model.capacity[slot]])
        before = DatabaseSnapshot.take()
        manifest = stepwise.preview_import("day.csv", sheet.getvalue().encode(), self._clerk(0))
        require(DatabaseSnapshot.take() == before, "a preview changed something")
        stepwise.start_import(manifest, self._clerk(0))
        self.sheets.append((manifest, said))
        self.tally["rows of spreadsheets"] += len(said)

    @precondition(lambda self: self.sheets)
    @rule(which=pick)
    def continue_import(self, which: int) -> None:
        """Import one slice, possibly while another spreadsheet is being imported."""
        manifest, said = self.sheets[-1 - which % len(self.sheets)]
        before = _imported()
        stepwise._import_slice(manifest.pk, self._clerk(0))
        for reference, state, msisdn, place, date, start, end in DatabaseSnapshot.take().bookings:
            if reference in said:
                slot, is_off = SlotKey(place, date, start, end), state == "cancelled"
                found = Delivery(msisdn=msisdn, slot=slot, is_cancelled=is_off)
                self._follow(reference, found, said[reference], before.get(reference))

    def _follow(
        self,
        reference: str,
        found: Delivery,
        said: tuple[str, SlotKey],
        before: tuple[str, SlotKey] | None,
    ) -> None:
        """Check what a row changed: everything of a new delivery, of a known one only what it says differently."""
        known = self.model.deliveries.get(reference)
        if known is None:
            require(said == (found.msisdn, found.slot), f"{reference} is not as its row says")
            self.model.deliveries[reference] = found
            return
        for name, is_said, was_said in (
            ("msisdn", said[0], before and before[0]),
            ("slot", said[1], before and before[1]),
        ):
            is_now = getattr(found, name)
            if is_now == getattr(known, name):
                continue
            require(is_now == is_said, f"{reference}: its {name} is not as its row says")
            require(
                was_said not in {None, is_said},
                f"{reference}: a row that says nothing new undid a choice",
            )
            self.model.change(reference, self.simulation.now, **{name: is_now})

    def _clerk(self, who: int) -> User:
        return User.objects.get_or_create(username=f"clerk-{who}")[0]


def _slot_key(slot: Slot) -> SlotKey:
    return SlotKey(slot.place, slot.date, slot.window_start, slot.window_end)


def _imported() -> dict[str, tuple[str, SlotKey]]:
    """Return phone and slot of each delivery's last imported row."""
    found = {}
    for booking in Booking.objects.exclude(imported=None):
        row = booking.imported or {}
        start, end = (dt.time.fromisoformat(row[name]) for name in ("window_start", "window_end"))
        day = dt.date.fromisoformat(row["date"])
        found[booking.reference] = (row["phone"], SlotKey(row["place"], day, start, end))
    return found
