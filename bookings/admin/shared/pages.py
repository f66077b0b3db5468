"""Pages of an admin's own, beside those that Django makes for a model."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin


class OwnPages(ModelAdmin):
    """Mixed in before the admin of a model."""

    def own_path(self, address: str, view: Callable[..., Any], name: str) -> URLPattern:
        """An address below the model's, named as Django names the others."""
        whole = f"{self.opts.app_label}_{self.opts.model_name}_{name}"
        found: URLPattern = path(address, self.admin_site.admin_view(view), name=whole)
        return found

    def own_page(
        self, request: HttpRequest, template: str, title: str, *, status: int = 200, **context: Any
    ) -> TemplateResponse:
        """A page in the frame of the admin; `template` lies below admin/bookings/."""
        around = self.admin_site.each_context(request)
        own = {"title": title, "opts": self.opts, "media": self.media}
        return TemplateResponse(
            request, f"admin/bookings/{template}", {**around, **own, **context}, status=status
        )
