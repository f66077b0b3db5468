"""The demo's logins: one for each role, with passwords that everybody knows.

The accounts have no password of their own. `DemoBackend` alone lets them in, and only while `is_demo()`: with Vonage or
without DEBUG the same database lets in none of them.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from bookings.web.demo import is_demo


@dataclass(frozen=True, slots=True)
class Login:
    """An account of the demo: `group` is "" for the superuser."""

    username: str
    first_name: str
    last_name: str
    group: str
    does: str  # in a few words, for the log-in page

    @property
    def password(self) -> str:
        return f"demo-{self.username}"


LOGINS = (
    Login("dispatch", "Dana", "Price", "Dispatch", "plans deliveries and answers customers"),
    Login("ops", "Omar", "Shah", "Ops", "keeps the sending going"),
    Login("auditor", "Iris", "Lowe", "Auditor", "reads everything, changes nothing"),
    Login("admin", "Alex", "Morgan", "", "may do everything, and manages users"),
)


def ensure_users() -> dict[str, User]:
    """Return the demo's users by username, made if they are missing. Existing users stay as they are."""
    return {login.username: _ensure(login) for login in LOGINS}


def _ensure(login: Login) -> User:
    is_superuser = not login.group
    user, is_new = User.objects.get_or_create(
        username=login.username,
        defaults={
            "first_name": login.first_name,
            "last_name": login.last_name,
            "is_staff": True,
            "is_superuser": is_superuser,
        },
    )
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
        user.groups.set(Group.objects.filter(name=login.group))
    return user


def working_logins() -> list[Login]:
    """Return the logins that let somebody in now: none outside the demo, none whose password was changed."""
    if not is_demo():
        return []
    users = User.objects.filter(username__in=[login.username for login in LOGINS], is_active=True)
    open_ones = {user.username for user in users if not user.has_usable_password()}
    return [login for login in LOGINS if login.username in open_ones]


class DemoBackend(BaseBackend):
    """Logs in the demo's accounts with the passwords that the log-in page shows."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **credentials: Any,
    ) -> User | None:
        for login in working_logins():
            if login.username == username and constant_time_compare(login.password, password or ""):
                return User.objects.get(username=username)
        return None

    def get_user(self, user_id: int) -> User | None:
        """Return the user of a session that began with such a login; outside the demo it has ended."""
        return User.objects.filter(pk=user_id).first() if is_demo() else None
