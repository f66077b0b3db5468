"""Fill an installation with something to try, and say what. `./run` calls it at each start."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import BaseCommand, CommandError

from bookings.management import demo_data
from bookings.models.fields import show_msisdn

USERNAME = "dispatch"
# Known to everyone, and so only made with DEBUG, where the simulator is the only network.
PASSWORD = "demo-dispatch"  # noqa: S105  # printed at each start of the demo


class Command(BaseCommand):
    help = "Makes demo data that can be tried now, and a staff login. Again: only what is missing."

    def handle(self, **options: Any) -> None:
        if settings.SMS_GATEWAY != "simulator":
            raise CommandError("The demo texts made-up numbers, so it needs SMS_GATEWAY=simulator.")
        first = demo_data.ensure()
        self.say_login()
        self.say_what_to_try(first.customer_name, first.msisdn)

    def say_login(self) -> None:
        """Print the login that works; without DEBUG none is made."""
        if not settings.DEBUG:
            self.stdout.write("Staff login: yours (manage.py createsuperuser makes one)")
            return
        user, is_new = User.objects.get_or_create(username=USERNAME, defaults={"is_staff": True})
        if is_new:
            user.set_password(PASSWORD)
            user.save()
            user.groups.set(Group.objects.filter(name="Dispatch"))
        password = PASSWORD if user.check_password(PASSWORD) else "as you changed it"
        self.stdout.write(f"Staff login: {USERNAME}, password: {password}")

    def say_what_to_try(self, name: str, msisdn: str) -> None:
        lines = [
            "Try this: open /simulator/, and answer 2 on the phone of"
            f" {name} ({show_msisdn(msisdn)});",
            "  notify a number of your own choice at /; see how it came about in /admin/.",
        ]
        if late := demo_data.late_booking():
            lines.append(f"  Too late to change, for trying that as well: {late.customer_name}.")
        self.stdout.write("\n".join(lines))
