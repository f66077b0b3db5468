"""Staff pages outside the admin's lists and forms, in the admin's look."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def render_page(
    request: HttpRequest,
    template: str,
    title: str,
    context: dict[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """Render a page with the admin's styles, navigation and header; `title` is its heading."""
    around = admin.site.each_context(request)
    return render(request, template, {**around, "title": title, **(context or {})}, status=status)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403: the account lacks a permission."""
    return render_page(request, "403.html", "Access denied", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return render_page(request, "404.html", "Page not found", status=404)
