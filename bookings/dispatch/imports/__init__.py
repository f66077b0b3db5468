"""A spreadsheet of deliveries: `read` makes rows of it, `import_rows` makes bookings of the rows.

`slices` does the same for a browser: looked at first, then imported piece by piece.
"""

from bookings.dispatch.imports.importing import Report, import_rows
from bookings.dispatch.imports.rows import (
    COLUMNS,
    MOST_ROWS,
    REQUIRED,
    Entry,
    Remark,
    Row,
    Window,
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
    "Window",
    "import_rows",
    "read",
]
