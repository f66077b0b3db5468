"""Campaign `states`: any order of events, and after each of them every promise."""

import logging
from collections import Counter
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RULE_MARKER, rule, run_state_machine_as_test

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.report import Report
from tests.campaigns.states.booking_and_reply_rules import PHONES
from tests.campaigns.states.product_machine import ProductMachine
from tests.campaigns.states.reference_model import InvariantViolation
from tests.campaigns.states.seeded_bugs import BUGS, QUICK, SeededBug

FULL, SMALL = 2000, 8
STEPS = 50
#: Bugs that the small run seeds, others each time, and the examples in which each must be found.
SMALL_BUGS, PATIENCE = 2, 1000

RULES = [
    name for name in dir(ProductMachine) if hasattr(getattr(ProductMachine, name), RULE_MARKER)
]
#: What moves things on, for examples in which no rule is left out.
OFTEN = [
    *["reply", "texts_go_out"] * 4,
    *("ask", "book", "receipt_comes", "receipt_comes", "sweep", "time_passes"),
    *("start_batch", "senders_ask", "an_import_goes_on"),
    *("a_new_day_is_asked", "a_new_day_is_asked", "until_a_reminder_is_due"),
]


def run(environment: Environment, size: int, report: Report) -> None:
    from bookings.dispatch.imports import importing, slices
    from bookings.web.webhooks import deadline

    logging.disable(logging.CRITICAL)
    # The clock is the machine's own: that of this computer decides nothing.
    deadline.CUT_AFTER = deadline.LAST_TURN = 10**6
    importing.CHANGES = slices._NEW = 2  # so that small sheets take several slices too
    for machine in (_machine_class(), _machine_class(*OFTEN, *RULES)):
        _attack(environment, report, machine, size // 2)
    report.control("a customer's choice moves a delivery", holds=_a_choice_moves())
    names = (
        list(BUGS) if size >= FULL else environment.random.sample(list(BUGS)[:QUICK], SMALL_BUGS)
    )
    for name in names:
        _seed_bug(environment, report, name, BUGS[name])


def _attack(
    environment: Environment, report: Report, machine: type[ProductMachine], examples: int
) -> None:
    error = _explore(machine, examples, environment.random.getrandbits(32), shrinks=True)
    if error is not None:
        notes = "\n".join(getattr(error, "__notes__", ()))
        report.found(f"{type(error).__name__}: {error}\n{notes}")
    for what, count in machine.tally.items():
        report.tried(what, count)


def _a_choice_moves() -> bool:
    machine = _machine_class()()
    machine.two_customers_are_asked(quiet=False)
    machine.reply(PHONES[0], 1, "{}", 0)
    machine.promises_hold()
    machine.teardown()
    return machine.tally["moves"] == 1


def _seed_bug(environment: Environment, report: Report, name: str, seeded: SeededBug) -> None:
    """With this bug in the product, something must be found before the patience ends."""
    machine = _machine_class(*seeded.rules.split())
    with seeded.bug():
        error = _explore(machine, PATIENCE, environment.random.getrandbits(32), shrinks=False)
    report.control(f"finds: {name}", holds=isinstance(error, InvariantViolation))
    if error is not None:
        first = str(error).partition("\n")[0]
        report.figure(name, f"found after {machine.failed_after[0]:,} steps: {first}")


def _machine_class(*rules: str) -> type[ProductMachine]:
    """A machine with counters of its own. With names of rules it draws from these alone, as often as they are named."""
    counters: dict[str, Any] = {"tally": Counter(), "failed_after": []}
    if not rules:
        return type("ProductMachine", (ProductMachine,), counters)
    every = {name: _rule(name) for name in dir(ProductMachine) if _rule(name)}
    plain = {name: found.function for name, found in every.items()}
    return type(
        "SelectedRulesMachine",
        (SelectedRulesMachine,),
        plain | counters | {"selected_rules": [every[name] for name in rules]},
    )


def _rule(name: str) -> Any:
    return getattr(getattr(ProductMachine, name), RULE_MARKER, None)


class SelectedRulesMachine(ProductMachine):
    """Hypothesis leaves out many rules in each example, to get far with the others. Here each is always there."""

    selected_rules: ClassVar[list[Any]] = []

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        found = data.draw(st.sampled_from(self.selected_rules), label="rule")
        if all(holds(self) for holds in found.preconditions):
            arguments = {name: data.draw(of, label=name) for name, of in found.arguments.items()}
            found.function(self, **arguments)


def _explore(
    machine: type[ProductMachine], examples: int, number: int, *, shrinks: bool
) -> Exception | None:
    """Run so many examples; what was found, in its smallest form if it is to shrink."""
    phases = [Phase.generate, Phase.shrink] if shrinks else [Phase.generate]
    told = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        phases=phases,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(machine), settings=told)
    except Exception as error:  # whatever was found
        return error
    return None
