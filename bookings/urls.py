"""The product's URLs: two webhooks for the gateway, the other pages for staff."""

from django.urls import path, re_path

from bookings.web import reveal_number
from bookings.web.demo import manifest
from bookings.web.notify import views as notify
from bookings.web.simulator import views as simulator
from bookings.web.webhooks import views as webhooks

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
    path("numbers/<slug:table>/<int:pk>/", reveal_number.number, name="reveal-number"),
    path("demo/deliveries.csv", manifest.download, name="demo-manifest"),
    path("simulator/", simulator.phones, name="simulator"),
    re_path(r"^simulator/(?P<msisdn>[\w+ .-]{1,40})/$", simulator.phone, name="simulator-phone"),
    re_path(
        r"^simulator/(?P<msisdn>[\w+ .-]{1,40})/reply$", simulator.reply, name="simulator-reply"
    ),
    re_path(
        r"^simulator/(?P<msisdn>[\w+ .-]{1,40})/switches$",
        simulator.switches,
        name="simulator-switches",
    ),
]
