"""What must not stand in a log: whole phone numbers, and the word that the webhook URLs carry."""

import logging
import re

_NUMBER = re.compile(r"(?<![\w-])\+?[0-9]{4,11}([0-9]{4})(?![\w-])")
_TOKEN = re.compile(r"(/webhooks/)[^/\s]+(/)")


def masked(text: str) -> str:
    """The text with phone numbers cut to their last four digits, and without a webhook's token."""
    return _NUMBER.sub(r"•••\1", _TOKEN.sub(r"\1•••\2", text))


class MaskingFormatter(logging.Formatter):
    """Masks whatever any library logs, since a path of ours can hold a number or the token."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))
