"""Import bookings from a spreadsheet. `bookings/dispatch/imports` defines what a row does."""

from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from bookings.dispatch.imports import ManifestError, Report, import_rows, read


class Command(BaseCommand):
    help = (
        "Imports bookings from a CSV or XLSX file. Its columns: reference, customer_name, phone,"
        " date (2026-11-24), window_start, window_end (09:00); and if you like place (door or"
        " post_office), language, notes, capacity (of the slot). A bad row is refused, the others"
        " go in, and the exit code is 1."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.csv|xlsx")
        parser.add_argument("--dry-run", action="store_true", help="say what it would do")

    def handle(self, **options: Any) -> None:
        try:
            entries = read(Path(options["file"]).read_bytes())
        except OSError as error:
            raise CommandError(f"Cannot read {options['file']}: {error.strerror}.") from error
        except ManifestError as error:
            raise CommandError(f"{options['file']}: {error}") from error
        report = import_rows(entries, dry_run=options["dry_run"])
        self.show(report, dry_run=options["dry_run"])
        if report.refused:
            raise CommandError(f"{len(report.refused)} rows were refused.", returncode=1)

    def show(self, report: Report, *, dry_run: bool) -> None:
        counts = {
            "created": report.created,
            "changed": report.changed,
            "unchanged": report.unchanged,
            "kept": len(report.kept),
            "refused": len(report.refused),
        }
        words = ", ".join(f"{count} {name}" for name, count in counts.items())
        self.stdout.write(f"{'Would be' if dry_run else 'Rows'}: {words}")
        for name in ("kept", "refused"):
            for remark in getattr(report, name):
                self.stdout.write(f"{name} {remark}")
