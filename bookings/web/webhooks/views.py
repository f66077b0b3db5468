"""The two webhooks: authenticate, parse, and carry out in one transaction before the 200.

200: done, or received before. 4xx: refused for good. 503: the database is down, send it again. Vonage repeats
everything but 200 for 24 hours (receipts: 72). So a bug in our rule is answered with 200, and staff replay the message.
"""

import functools
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.log import log_response
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from bookings.models.faults import DATABASE_FAULTS
from bookings.outbox import delivery_receipts
from bookings.replies import service
from bookings.web.webhooks import alarm
from bookings.web.webhooks.authentication import ForgedError, check_authentic
from bookings.web.webhooks.deadline import in_time
from bookings.web.webhooks.payloads import RefusedError, parse_inbound, parse_receipt, read_fields

logger = logging.getLogger(__name__)

# Vonage repeats an inbound SMS for 24 hours and a receipt for 72; an hour for clocks and queues.
INBOUND_MAX_AGE = timedelta(hours=25)
RECEIPT_MAX_AGE = timedelta(hours=73)

refusals = alarm.RefusalAlarm()

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def refusals_answered(view: View[P]) -> View[P]:
    """Answer a refusal with its status and a database fault with 503; log either once.

    The log names the webhook and not the path, because the path can contain the token.
    """

    @functools.wraps(view)
    def answered(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except RefusedError as error:
            response, reason = HttpResponse(status=error.status), str(error)
            _watch(error)
        except DATABASE_FAULTS as error:
            response = HttpResponse(status=503, headers={"Retry-After": "5"})
            reason = f"database: {error}"
        log_response(
            "Webhook %s answered with %s: %s",
            view.__name__,
            response.status_code,
            reason,
            response=response,
            request=request,
            logger=logger,
        )
        return response

    return answered


def _watch(error: RefusedError) -> None:
    if isinstance(error, ForgedError) and refusals.rings(timezone.now()):
        logger.error(
            "More than %s webhook requests were refused with 401 in ten minutes. Was the signature secret rotated at"
            " Vonage? Compare VONAGE_SIGNATURE_SECRETS, VONAGE_SIGNATURE_METHOD and WEBHOOK_TOKEN with its dashboard.",
            alarm.MOST,
        )


@csrf_exempt
@login_not_required
@transaction.non_atomic_requests
@cache_control(no_store=True)
@require_http_methods(["GET", "HEAD", "POST"])
@refusals_answered
def inbound_sms(request: HttpRequest, token: str | None = None) -> HttpResponse:
    """Receive a customer's SMS: store it, decide, and queue the answer in one transaction."""
    fields = read_fields(request)
    if not fields:  # Vonage probes the URL when a number is linked to it
        return HttpResponse()
    check_authentic(fields, token, max_age=INBOUND_MAX_AGE)
    sms = parse_inbound(fields)
    with in_time(request):
        service.answer(sms)
    return HttpResponse()


@csrf_exempt
@login_not_required
@transaction.non_atomic_requests
@cache_control(no_store=True)
@require_http_methods(["GET", "HEAD", "POST"])
@refusals_answered
def delivery_receipt(request: HttpRequest, token: str | None = None) -> HttpResponse:
    """Receive a delivery receipt: store it and update its message in one transaction."""
    fields = read_fields(request)
    if not fields:
        return HttpResponse()
    check_authentic(fields, token, max_age=RECEIPT_MAX_AGE)
    value = parse_receipt(fields)
    with in_time(request):
        delivery_receipts.receive(value)
    return HttpResponse()
