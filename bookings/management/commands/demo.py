"""Fill an installation with a fortnight to look at. `./run` calls it at each start."""

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from bookings.management.demo import ensure
from bookings.outbox.recipients import why_unreachable
from bookings.web.demo.accounts import working_logins
from bookings.web.demo.fiction import mobiles


class Command(BaseCommand):
    help = "Loads demo data and a login for each role. Run again, it adds only what is missing."

    def handle(self, **options: Any) -> None:
        if settings.SMS_GATEWAY != "simulator":
            raise CommandError("The demo texts made-up numbers, so it needs SMS_GATEWAY=simulator.")
        if why_unreachable(mobiles()[0]):
            raise CommandError("SMS_COUNTRIES does not allow texts to the demo's made-up numbers.")
        ensure()
        self.stdout.write(
            f"Demo of {settings.COMPANY_NAME}: made-up customers, and no text reaches a real phone."
        )
        names = ", ".join(login.username for login in working_logins())
        self.stdout.write(
            f"Log in as {names}; the password is demo- and that name."
            if names
            else "Log in as yourself (manage.py createsuperuser makes an account)."
        )
