"""The web application for an ASGI server; wsgi.py is the one that is measured and recommended."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "delivery_sms.settings")

application = get_asgi_application()
