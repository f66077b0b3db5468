"""Security headers of every response."""

import pytest


def test_pages_run_only_scripts_of_this_site(client):
    policy = client.get("/healthz").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.django_db
def test_content_policy_allows_only_the_needs_of_the_admin_theme(client):
    policy = client.get("/admin/login/").headers["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert policy.count("unsafe") == 2


def test_every_answer_names_its_request_for_the_log(client):
    assert client.get("/healthz", headers={"X-Request-ID": "abcd-1234"}).headers[
        "X-Request-ID"
    ] == ("abcd-1234")
    made_up = client.get("/healthz", headers={"X-Request-ID": "<b>"}).headers["X-Request-ID"]
    assert len(made_up) == 16


@pytest.mark.django_db
def test_every_response_has_security_headers(client):
    for path in ("/healthz", "/admin/login/", "/webhooks/inbound-sms", "/nowhere"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["X-Frame-Options"] == "DENY", path
        assert headers["Referrer-Policy"] == "same-origin", path
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", path
        assert "object-src 'none'" in headers["Content-Security-Policy"], path
