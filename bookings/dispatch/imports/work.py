"""What is left to do of a manifest, and what there is to say of it, packed for `Manifest.content`."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from bookings.dispatch.imports.rows import Remark, Row

#: A row as it is kept: most are only carried along from one slice to the next.
Packed: TypeAlias = list[Any]

#: Remarks of a kind that a page shows. They are counted all.
MOST_SHOWN = 200


@dataclass(slots=True, kw_only=True)
class Work:
    """Rows that are still to be imported, in the order in which they will be."""

    pending: list[Packed] = field(default_factory=list)  # before the start all, then the changes
    new: list[Packed] = field(default_factory=list)
    stuck: list[tuple[Row, str]] = field(default_factory=list)  # changes without room yet
    tried: int = 0  # changes of this pass
    size: int = 0  # of them, how many a slice takes
    refused: list[Remark] = field(default_factory=list)  # for what the file itself says
    changed: list[Remark] = field(default_factory=list)
    kept: list[Remark] = field(default_factory=list)
    repaired: list[Remark] = field(default_factory=list)

    @property
    def row_count(self) -> int:
        return len(self.pending) + len(self.new) + len(self.stuck)

    def begin_pass(self, changes: Iterable[Row], size: int) -> None:
        self.pending = pack(changes)
        self.tried, self.size = len(self.pending), size

    def packed(self) -> bytes:
        reasons = [reason for _, reason in self.stuck]
        told = {
            "pending": self.pending,
            "new": self.new,
            "stuck": list(zip(pack(row for row, _ in self.stuck), reasons, strict=True)),
            "tried": self.tried,
            "size": self.size,
            "refused": as_json(self.refused),
        }
        shown = {"changed": self.changed, "kept": self.kept, "repaired": self.repaired}
        told |= {name: as_json(remarks[:MOST_SHOWN]) for name, remarks in shown.items()}
        return zlib.compress(json.dumps(told).encode(), 1)

    @classmethod
    def of(cls, content: bytes | memoryview) -> "Work":
        told: dict[str, Any] = json.loads(zlib.decompress(content))
        remarks = ("refused", "changed", "kept", "repaired")
        return cls(
            pending=told["pending"],
            new=told["new"],
            stuck=[(Row.of(*row), reason) for row, reason in told["stuck"]],
            tried=told["tried"],
            size=told["size"],
            **{name: [Remark(**remark) for remark in told[name]] for name in remarks},
        )


def as_json(remarks: Iterable[Remark]) -> list[dict[str, Any]]:
    """Remarks as `Manifest.refusals` has them."""
    return [
        {"line": remark.line, "reason": remark.reason, "cells": dict(remark.cells)}
        for remark in remarks
    ]


def pack(rows: Iterable[Row]) -> list[Packed]:
    return [[row.line, row.reference, row.record] for row in rows]


def unpack(rows: Iterable[Packed]) -> list[Row]:
    return [Row.of(*row) for row in rows]
