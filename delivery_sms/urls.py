"""Every URL of the project."""

from django.contrib import admin
from django.urls import include, path

from bookings import health

urlpatterns = [
    path("", include("bookings.urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
