"""Database faults, after which work is asked for again, and bugs of ours, after which it is not."""

import logging
from collections.abc import Callable
from contextlib import nullcontext

from django.db import InterfaceError, InternalError, OperationalError, transaction

#: The database is away, locked or broken. A webhook answers 503, and the gateway sends its request again.
DATABASE_FAULTS = (OperationalError, InterfaceError, InternalError)

logger = logging.getLogger(__name__)


def survives(work: Callable[[], object], *, otherwise: str, is_in_savepoint: bool = True) -> bool:
    """Do some work on a stored row in a savepoint. Return False if a bug of ours ended it: the row is kept.

    `otherwise` is the message of the log then. Work that opens transactions of its own needs no savepoint. Database
    faults are raised. Why bugs are not: Vonage would repeat the request for up to three days, with the same end, and
    then drop it.
    """
    try:
        with transaction.atomic() if is_in_savepoint else nullcontext():
            work()
    except DATABASE_FAULTS:
        raise
    except Exception:
        logger.exception(otherwise)
        return False
    return True
