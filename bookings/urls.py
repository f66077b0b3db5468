"""The addresses of the product: two for the gateway, the others for staff."""

from django.urls import path, re_path

from bookings.views import notify, simulator
from bookings.webhooks import views as webhooks

urlpatterns = [
    re_path(
        r"^webhooks/(?:(?P<token>[^/]+)/)?inbound-sms/?$", webhooks.inbound_sms, name="inbound-sms"
    ),
    re_path(
        r"^webhooks/(?:(?P<token>[^/]+)/)?delivery-receipt/?$",
        webhooks.delivery_receipt,
        name="delivery-receipt",
    ),
    path("", notify.form, name="notify-form"),
    path("notify", notify.send, name="notify"),
    path("notify/preview", notify.preview, name="notify-preview"),
    path("notifications/<int:pk>/", notify.progress, name="notification-progress"),
    path("simulator/", simulator.phones, name="simulator"),
    path("simulator/<str:msisdn>/", simulator.phone, name="simulator-phone"),
    path("simulator/<str:msisdn>/reply", simulator.reply, name="simulator-reply"),
    path("simulator/<str:msisdn>/switches", simulator.switches, name="simulator-switches"),
]
