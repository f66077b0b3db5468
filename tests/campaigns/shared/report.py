"""The result of a campaign. Without a positive control that holds, finding nothing proves nothing."""

import sys
import time
from collections import Counter

_SHOWN = 20


class Report:
    """Collects what a campaign tried, measured and found; `close` prints it and returns whether it passed."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started_at = time.monotonic()
        self._tried: Counter[str] = Counter()
        self._figures: dict[str, object] = {}
        self._controls: dict[str, bool] = {}
        self._faults: list[str] = []

    def tried(self, what: str, count: int = 1) -> None:
        """Count attempts, such as `replies`."""
        self._tried[what] += count

    def figure(self, name: str, value: object) -> None:
        """Note a measurement, such as the slowest answer."""
        self._figures[name] = value

    def control(self, what: str, *, holds: bool) -> None:
        """Note a positive control: valid traffic succeeded, or a seeded bug was found.

        A control that is named several times must hold each time.
        """
        self._controls[what] = self._controls.get(what, True) and holds

    def found(self, fault: str) -> None:
        """Note a broken promise, and print it at once."""
        self._faults.append(fault)
        if len(self._faults) <= _SHOWN:
            print(f"FOUND {fault}", file=sys.stderr, flush=True)

    def close(self) -> bool:
        """Print the report; returns True if nothing was found and every control held."""
        lines = [self._title]
        lines += [f"  tried    {count:,} {what}" for what, count in self._tried.items()]
        lines += [f"  figure   {name}: {value}" for name, value in self._figures.items()]
        lines += [
            f"  control  {'holds ' if holds else 'FAILED'} {what}"
            for what, holds in self._controls.items()
        ]
        lines += [f"  FOUND    {fault}" for fault in self._faults[:_SHOWN]]
        if len(self._faults) > _SHOWN:
            lines.append(f"  FOUND    and {len(self._faults) - _SHOWN:,} more")
        passed = not self._faults and bool(self._controls) and all(self._controls.values())
        seconds = time.monotonic() - self._started_at
        lines.append(f"  {'passed' if passed else 'FAILED'}, in {seconds:.0f} s")
        print("\n".join(lines), flush=True)
        return passed
