"""A spreadsheet of deliveries: `read` makes rows of it, `import_rows` makes bookings of the rows."""

from bookings.manifest.importing import Report, import_rows
from bookings.manifest.rows import Entry, Remark, Row, Window, read
from bookings.manifest.sheets import ManifestError

__all__ = ["Entry", "ManifestError", "Remark", "Report", "Row", "Window", "import_rows", "read"]
