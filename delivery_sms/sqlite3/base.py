"""Django's SQLite backend, whose threads write one after the other in the order in which they came.

SQLite lets one connection write at a time and has no queue: those that wait look again now and then, and overtake one
another until the last gives up. So within this process only one connection at a time asks SQLite for its lock.
"""

from collections.abc import Callable
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from delivery_sms.sqlite3.turns import writing

#: Seconds to wait for a turn, as long as SQLite's own lock is waited for (`busy_timeout` in the settings).
PATIENCE = 4.0

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


_Base: Any = base.DatabaseWrapper  # django-stubs leave out what is overridden here


class DatabaseWrapper(_Base):
    """A connection that has its turn from BEGIN to COMMIT, ROLLBACK or its end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(self._execute)

    def _start_transaction_under_autocommit(self) -> None:
        try:
            self._take_turn()
            super()._start_transaction_under_autocommit()
        except BaseException:
            writing.give(self)
            raise

    def _commit(self) -> None:
        super()._commit()  # if it fails, a rollback follows
        writing.give(self)

    def _rollback(self) -> None:
        super()._rollback()  # if it fails, the connection is closed
        writing.give(self)

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            writing.give(self)

    def _execute(self, execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        """Run a statement; a write outside of a transaction is one by itself, and waits for its turn too."""
        if writing.is_held_by(self) or not sql.startswith(_WRITES):
            return execute(sql, *others)
        try:
            self._take_turn()
            return execute(sql, *others)
        finally:
            writing.give(self)

    def _take_turn(self) -> None:
        if not writing.take(self, PATIENCE):
            raise OperationalError("database is locked: other threads of this process are writing")
