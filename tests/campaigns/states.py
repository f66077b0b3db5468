"""Campaign `states`: any order of events, and after each of them every promise (failures.md, T1 and T11)."""

import logging
from collections import Counter

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RULE_MARKER, run_state_machine_as_test

from tests.campaigns.machine import Machine
from tests.campaigns.model import BrokenPromise
from tests.campaigns.people import PHONES
from tests.campaigns.report import Report
from tests.campaigns.seeded import BUGS, Seeded
from tests.campaigns.stage import Stage

FULL, SMALL = 2000, 8
STEPS = 50
#: Bugs that the small run seeds, others each time, and the examples in which each must be found.
SMALL_BUGS, PATIENCE = 2, 200


def run(stage: Stage, size: int, report: Report) -> None:
    logging.disable(logging.CRITICAL)
    machine = _machine()
    error = _explore(machine, size, stage.random.getrandbits(32), shrinks=True)
    if error is not None:
        notes = "\n".join(getattr(error, "__notes__", ()))
        report.found(f"{type(error).__name__}: {error}\n{notes}")
    for what, count in machine.tally.items():
        report.tried(what, count)
    report.control("a customer's choice moves a delivery", holds=_a_choice_moves())
    names = list(BUGS) if size >= FULL else stage.random.sample(list(BUGS)[:3], SMALL_BUGS)
    for name in names:
        _seed_bug(stage, report, name, BUGS[name])


def _a_choice_moves() -> bool:
    machine = _machine()()
    machine.two_customers_are_asked(quiet=False)
    machine.reply(PHONES[0], 1, "{}", 0)
    machine.promises_hold()
    machine.teardown()
    return machine.tally["moves"] == 1


def _seed_bug(stage: Stage, report: Report, name: str, seeded: Seeded) -> None:
    """With this bug in the product, something must be found before the patience ends."""
    machine = _machine(set(seeded.rules.split()))
    with seeded.bug():
        error = _explore(machine, PATIENCE, stage.random.getrandbits(32), shrinks=False)
    report.control(f"finds: {name}", holds=isinstance(error, BrokenPromise))
    if error is not None:
        first = str(error).partition("\n")[0]
        report.figure(name, f"found after {machine.failed_after[0]:,} steps: {first}")


def _machine(rules: set[str] | None = None) -> type[Machine]:
    """A machine with counters of its own: with all rules, or with these."""
    plain = {
        name: getattr(getattr(Machine, name), RULE_MARKER).function
        for name in dir(Machine)
        if hasattr(getattr(Machine, name), RULE_MARKER) and rules and name not in rules
    }
    return type("Machine", (Machine,), plain | {"tally": Counter(), "failed_after": []})


def _explore(
    machine: type[Machine], examples: int, number: int, *, shrinks: bool
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
