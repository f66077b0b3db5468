"""The web application, as a web server calls it."""

from importlib import import_module
from wsgiref.util import setup_testing_defaults

import pytest


@pytest.fixture
def call(monkeypatch):
    """Return the status of a request with these headers."""
    monkeypatch.setenv("PGOPTIONS", "")  # its time limits are not for tests
    application = import_module("delivery_sms.wsgi").application

    def _call(**environ):
        answered = []
        setup_testing_defaults(environ)
        body = application(environ, lambda status, headers: answered.append(status))
        b"".join(body)
        return answered[0]

    return _call


def test_the_application_answers(call):
    assert call(PATH_INFO="/healthz", HTTP_HOST="localhost") == "200 OK"


def test_unreadable_content_type_is_a_client_error(call):
    broken = "application/json; charset*=foo'en'b%41r"
    assert call(PATH_INFO="/webhooks/inbound-sms", CONTENT_TYPE=broken) == "400 Bad Request"
