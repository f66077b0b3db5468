"""Browsers of staff, logged in."""

import pytest
from django.test import Client

from tests.flow.admin.pages import EVERYONE, login


@pytest.fixture(params=EVERYONE)
def staff(request) -> Client:
    return login(request.param)


@pytest.fixture
def dispatcher() -> Client:
    return login("Dispatch")


@pytest.fixture
def ops() -> Client:
    return login("Ops")


@pytest.fixture
def superuser() -> Client:
    return login("superuser")
