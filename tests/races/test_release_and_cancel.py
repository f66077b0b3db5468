"""Two Ops users release and cancel the same held texts at once: one succeeds, the other is told."""

import pytest

from bookings.models import OutboundMessage, StaffAct
from tests.factories import OutboundMessageFactory
from tests.flow.admin.pages import login, url
from tests.races.simultaneous import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("round_", range(5))
def test_release_or_cancellation_is_done_and_recorded_once(round_):
    texts = OutboundMessageFactory.create_batch(3, is_held=True)

    def confirm(action):
        client = login("superuser")
        fields = {
            "action": action,
            "_selected_action": [text.pk for text in texts],
            "confirmed": "yes",
            "seen": "0",  # nobody has mended anything before
        }
        return lambda: client.post(url(OutboundMessage, "changelist"), fields).status_code

    said = at_once(*map(confirm, ["release_held", "drop_held"] * 2))

    assert set(said) <= {200, 302}, said
    (act,) = StaffAct.objects.all()
    states = set(OutboundMessage.objects.values_list("state", "is_held"))
    assert states == {("queued" if act.kind == "released" else "cancelled", False)}
