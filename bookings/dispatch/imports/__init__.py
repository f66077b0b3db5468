"""Imports of bookings from a spreadsheet: `read` reads its rows, `import_rows` makes bookings of them.

`stepwise` does the same for a browser: with a preview, and slice by slice.
"""

from bookings.dispatch.imports.importing import Report, import_rows
from bookings.dispatch.imports.rows import (
    COLUMNS,
    MOST_ROWS,
    REQUIRED,
    Entry,
    Remark,
    Row,
    read,
)
from bookings.dispatch.imports.sheets import ManifestError

__all__ = [
    "COLUMNS",
    "MOST_ROWS",
    "REQUIRED",
    "Entry",
    "ManifestError",
    "Remark",
    "Report",
    "Row",
    "import_rows",
    "read",
]
