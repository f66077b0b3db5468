"""A gateway to a network in this process, for tests that are not about the wire."""

from datetime import timedelta

from bookings.gateways import OutgoingSMS, SendResult
from bookings.gateways.vonage_answers import Answer, NoAnswer, classify
from tests.network import LOST_ANSWERS, Network


class MemoryGateway:
    """Hands texts to a network in this process, with the results of VonageGateway in front of a FakeVonage.

    tests/faults/test_memory_gateway.py compares the two.
    """

    name = "vonage"

    def __init__(self, network: Network) -> None:
        self._network = network

    def send(self, sms: OutgoingSMS) -> SendResult:
        """Hand over one text."""
        post, mode = self._network.take(_form(sms), connection=0)
        if mode in LOST_ANSWERS:
            self._network.say(post, ["0"] * len(post.message_ids))
            return classify(NoAnswer(error=LOST_ANSWERS[mode], is_written=True))
        answer = self._network.answer(post, mode)
        return classify(
            Answer(
                http_status=answer.status,
                body=answer.body.encode(),
                retry_after=answer.headers.get("Retry-After", ""),
            )
        )

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _form(sms: OutgoingSMS) -> dict[str, str]:
    fields = {"to": sms.to, "from": sms.sender, "text": sms.text, "client-ref": sms.client_ref}
    if sms.is_unicode:
        fields["type"] = "unicode"
    if sms.ttl is not None:
        milliseconds = sms.ttl // timedelta(milliseconds=1)
        fields["ttl"] = str(min(max(milliseconds, 20_000), 259_200_000))
    return fields
