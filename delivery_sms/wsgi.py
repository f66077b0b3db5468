"""The web application. A web server imports this; the sender does not."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "delivery_sms.settings")
# A request gives up on PostgreSQL before the gateway gives up on us, and answers 503.
os.environ.setdefault(
    "PGOPTIONS",
    "-c statement_timeout=5000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=10000",
)

application = get_wsgi_application()
