"""Campaign `states`: any order of events, and after each of them every promise (failures.md, T1 and T11)."""

import logging
from collections import Counter

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RULE_MARKER, run_state_machine_as_test

from tests.campaigns.machine import Machine
from tests.campaigns.model import BrokenPromise
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
    error = _explore(machine, size, stage.random.getrandbits(32), shrinks=False)
    if error is not None:
        notes = "\n".join(getattr(error, "__notes__", ()))
        report.found(f"{type(error).__name__}: {error}\n{notes}")
    for what, count in machine.tally.items():
        report.tried(what, count)
    report.control("customers chose, and texts were delivered", holds=machine.tally["moves"] > 0)
    bugs = (
        list(BUGS.items()) if size >= FULL else stage.random.sample(list(BUGS.items()), SMALL_BUGS)
    )
    for name, bug in bugs:
        _seed_bug(stage, report, name, bug)


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
