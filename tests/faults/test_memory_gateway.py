"""The gateway in memory returns the results that the real gateway returns for Vonage's answers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.faults.conftest import SMS, gateway_to
from tests.memory_gateway import MemoryGateway
from tests.network import LOST_ANSWERS, Network

MODES = [
    *LOST_ANSWERS,
    *("ok", "partial", "count:0", "count:2", "no_error_text", "slow:0.1"),
    *(f"status:{status}" for status in (1, 2, 4, 5, 6, 7, 9, 10, 29, 77)),
    *("html200", "empty200", "html500", "html502", "redirect_302"),
    *("400", "401", "403", "404", "422", "429", "500", "503"),
]
TEXTS = {
    "plain": SMS,
    "unicode": replace(SMS, text="Łódź", is_unicode=True),
    "two parts": replace(SMS, text="a" * 161),
    "no digits": replace(SMS, to="44x"),
    "no ttl below 20 s": replace(SMS, ttl=timedelta(seconds=5)),
    "no ttl above 72 h": replace(SMS, ttl=timedelta(days=9)),
    "ttl": replace(SMS, ttl=timedelta(hours=1, microseconds=1)),
}


def without_ids(result):
    """Return the result with the number of each part in place of its message id."""
    parts = [
        replace(p, message_id=str(n) if p.message_id else "") for n, p in enumerate(result.parts)
    ]
    return replace(result, parts=tuple(parts))


@pytest.mark.parametrize("mode", MODES)
def test_each_answer_has_the_result_that_the_real_gateway_gives(mode, vonage):
    network = Network()
    for each in (network, vonage):
        each.set_mode(mode)
    with gateway_to(vonage.host, vonage.ca_file, timeout=1) as gateway:
        assert without_ids(MemoryGateway(network).send(SMS)) == without_ids(gateway.send(SMS))
    assert len(network.posts) == len(vonage.posts) == 1


@pytest.mark.parametrize("sms", TEXTS.values(), ids=TEXTS)
def test_each_text_arrives_in_the_form_that_the_real_gateway_sends(sms, vonage, gateway):
    network = Network()
    assert without_ids(MemoryGateway(network).send(sms)) == without_ids(gateway.send(sms))
    assert [post.form for post in network.posts] == [post.form for post in vonage.posts]
