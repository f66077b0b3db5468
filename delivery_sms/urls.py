"""Every URL of the project."""

from django.contrib import admin
from django.urls import include, path

from bookings import health
from bookings.views import second_factor

urlpatterns = [
    path("", include("bookings.urls")),
    path("admin/", admin.site.urls),
    path("second-factor/", second_factor.page, name="second-factor"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
