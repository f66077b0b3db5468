"""Staff and their groups, in the theme's forms. Nobody is deleted: their names stand in the history."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from bookings.admin.guard import GuardedList

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(GuardedList, BaseUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Group)
class GroupAdmin(GuardedList, BaseGroupAdmin, ModelAdmin):
    pass
