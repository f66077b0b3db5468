"""A spreadsheet in the hands of staff: handed in, looked at, imported."""

import io

from django.urls import reverse

from bookings.models import Manifest, ManifestState
from tests.flow.admin.pages import url
from tests.flow.sheets import HEADER

FULL = [*HEADER, "capacity"]


def hand_in(client, content, name="week.csv"):
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    file.name = name
    return client.post(url(Manifest, "add"), {"file": file})


def handed_in(client, content, name="week.csv"):
    response = hand_in(client, content, name)
    assert response.status_code == 302, response.context["fault"]
    return Manifest.objects.get(pk=int(response.url.split("/")[-3]))


def page(client, manifest):
    return client.get(url(Manifest, "change", manifest.pk)).content.decode()


def press(client, manifest, **headers):
    """The button of its page, with or without a script."""
    return client.post(reverse("admin:bookings_manifest_import", args=[manifest.pk]), **headers)


def carry_out(client, manifest):
    while manifest.state != ManifestState.DONE:
        assert press(client, manifest).status_code == 302
        manifest.refresh_from_db()
    return manifest


def fault_of(client, content, name="week.csv"):
    response = hand_in(client, content, name)
    assert response.status_code == 200
    assert not Manifest.objects.exists()
    return response.context["fault"]
