"""Campaign `states`: events in any order, and a check of every promise after each event.

Hypothesis runs a state machine (`product_machine.py`) with random rules and arguments, and shrinks what it finds to the
shortest sequence. Sizes are examples of 50 steps.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RULE_MARKER, rule, run_state_machine_as_test

from tests.campaigns.shared.environment import Environment
from tests.campaigns.shared.report import Report
from tests.campaigns.states.booking_and_reply_rules import PHONES
from tests.campaigns.states.counterexamples import COUNTEREXAMPLES, Step
from tests.campaigns.states.product_machine import ProductMachine
from tests.campaigns.states.reference_model import InvariantViolation
from tests.campaigns.states.seeded_bugs import BUGS, QUICK, SeededBug

FULL, SMALL = 2000, 12
STEPS = 50
#: Examples within which the random search must find a seeded bug.
MOST_EXAMPLES = 1000

RULES = [
    name for name in dir(ProductMachine) if hasattr(getattr(ProductMachine, name), RULE_MARKER)
]
#: Rules that make progress, drawn more often in half of the examples.
OFTEN = [
    *["reply", "send_texts"] * 4,
    *("notify", "book", "deliver_receipt", "deliver_receipt", "sweep", "let_time_pass"),
    *("start_batch", "ask_waiting_customers", "continue_import"),
    *("notify_new_deliveries", "notify_new_deliveries", "advance_to_reminder"),
]


def run(environment: Environment, size: int, report: Report) -> None:
    """Search for broken promises, then show that the search and the checks find seeded bugs.

    The full size searches for every bug. A smaller one searches for one that is found quickly, and shows the others
    by their counterexamples.
    """
    from bookings.dispatch.imports import importing, stepwise
    from bookings.web.webhooks import deadline

    logging.disable(logging.CRITICAL)
    # The campaign moves the clock itself: no webhook may run out of the computer's time.
    deadline.CUT_AFTER = deadline.LAST_TURN = 10**6
    importing.CHANGES = stepwise._NEW = 2  # so that small spreadsheets take several slices too
    for machine in (_machine_class(), _machine_class(*OFTEN, *RULES)):
        _attack(environment, report, machine, size // 2)
    report.control("a customer's choice moves a delivery", holds=_a_choice_moves())
    for name, seeded in BUGS.items():
        _play_counterexample(report, name, seeded)
    quick = [environment.random.choice(list(BUGS)[:QUICK])]
    for name in BUGS if size >= FULL else quick:
        _search(environment, report, name, BUGS[name])


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
    reply = ("reply", {"msisdn": PHONES[0], "which": 1, "form": "{}", "fault": 0})
    machine = _machine_class()
    _play(machine, [reply])
    return machine.tally["moves"] == 1


def _play_counterexample(report: Report, name: str, seeded: SeededBug) -> None:
    """Its steps break a promise with the bug, and none without it."""
    steps = COUNTEREXAMPLES[name]
    is_sound = _play(_machine_class(), steps) is None
    with seeded.bug():
        violation = _play(_machine_class(), steps)
    holds = is_sound and violation is not None
    report.control(f"the checks see: {name}", holds=holds)


def _play(machine_class: type[ProductMachine], steps: Iterable[Step]) -> InvariantViolation | None:
    """Run the steps with all checks after each; returns the first violation."""
    machine = machine_class()
    try:
        machine.notify_two_customers(quiet=False)
        machine.check_promises()
        for name, arguments in steps:
            getattr(machine, name)(**arguments)
            machine.check_promises()
    except InvariantViolation as violation:
        return violation
    finally:
        machine.teardown()
    return None


def _search(environment: Environment, report: Report, name: str, seeded: SeededBug) -> None:
    """Search with this bug in the product, which must be found within MOST_EXAMPLES."""
    machine = _machine_class(*seeded.rules.split())
    with seeded.bug():
        number = environment.random.getrandbits(32)
        error = _explore(machine, MOST_EXAMPLES, number, shrinks=False)
    report.control(f"the search finds: {name}", holds=isinstance(error, InvariantViolation))
    if error is not None:
        first = str(error).partition("\n")[0]
        report.figure(name, f"found after {machine.failed_after[0]:,} steps: {first[:200]}")


def _machine_class(*rules: str) -> type[ProductMachine]:
    """Return a machine class with counters of its own.

    If rules are named, it draws from these alone, each as often as it is named.
    """
    counters: dict[str, Any] = {"tally": Counter(), "failed_after": []}
    if not rules:
        return type("ProductMachine", (ProductMachine,), counters)
    every = {name: _rule(name) for name in dir(ProductMachine) if _rule(name)}
    plain = {name: found.function for name, found in every.items()}
    selected = {"selected_rules": [every[name] for name in rules]}
    return type("SelectedRulesMachine", (SelectedRulesMachine,), plain | counters | selected)


def _rule(name: str) -> Any:
    return getattr(getattr(ProductMachine, name), RULE_MARKER, None)


class SelectedRulesMachine(ProductMachine):
    """A machine in which every selected rule can be drawn at every step.

    Why: Hypothesis leaves many rules out of each example, so that few examples combine the rules that a bug needs.
    """

    selected_rules: ClassVar[list[Any]] = []

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """Draw one of the selected rules and run it if its preconditions hold."""
        found = data.draw(st.sampled_from(self.selected_rules), label="rule")
        if all(holds(self) for holds in found.preconditions):
            arguments = {name: data.draw(of, label=name) for name, of in found.arguments.items()}
            found.function(self, **arguments)


def _explore(
    machine: type[ProductMachine], examples: int, number: int, *, shrinks: bool
) -> Exception | None:
    """Run so many examples from this seed; returns what was found, shrunk to its shortest form if `shrinks`."""
    phases = [Phase.generate, Phase.shrink] if shrinks else [Phase.generate]
    options = settings(
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
        run_state_machine_as_test(seed(number)(machine), settings=options)
    except Exception as error:  # whatever was found
        return error
    return None
