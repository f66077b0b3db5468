"""Every URL of the project."""

from django.contrib import admin
from django.urls import include, path

from bookings.web import health
from bookings.web.accounts import views

urlpatterns = [
    path("", include("bookings.urls")),
    path("admin/", admin.site.urls),
    path("second-factor/", views.page, name="second-factor"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]

handler403 = "bookings.web.pages.forbidden"
handler404 = "bookings.web.pages.not_found"
