"""Staff and their groups, in the theme's forms. Nobody is deleted: their names stand in the history."""

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from bookings.admin.shared.guard import GuardedList
from bookings.web.accounts import second_factor

admin.site.unregister(User)
admin.site.unregister(Group)
# Their pages would show the keys: everybody sets up their own device, and it can be taken away here.
admin.site.unregister(TOTPDevice)
admin.site.unregister(StaticDevice)


@admin.register(User)
class UserAdmin(GuardedList, BaseUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    actions = ["forget_second_factor"]

    @admin.action(description="Reset two-factor login", permissions=["change"])
    def forget_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Whoever has lost phone and recovery codes logs in with the password alone, and sets up a new one."""
        for user in queryset:
            if second_factor.forget(user):
                self.log_change(request, user, "Two-factor login reset.")
                self.message_user(request, f"Two-factor login of {user} was reset.")
            else:
                self.message_user(request, f"{user} had no two-factor login.", messages.INFO)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Group)
class GroupAdmin(GuardedList, BaseGroupAdmin, ModelAdmin):
    pass
