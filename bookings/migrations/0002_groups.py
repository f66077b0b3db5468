"""Two groups: Dispatch works with bookings, Ops reads everything and changes nothing."""

from django.db import migrations

DISPATCH_MAY = ("add_booking", "change_booking", "notify_booking", "add_slot", "change_slot")


def make_groups(apps, schema_editor):
    using = schema_editor.connection.alias
    permissions = _permissions(apps, using)
    views = [permission for codename, permission in permissions.items() if codename.startswith("view_")]
    groups = apps.get_model("auth", "Group").objects.using(using)
    groups.get_or_create(name="Ops")[0].permissions.add(*views)
    groups.get_or_create(name="Dispatch")[0].permissions.add(
        *views, *(permissions[codename] for codename in DISPATCH_MAY)
    )


def _permissions(apps, using):
    """Ours, by codename. Django makes them only after the last migration, so here they may have to be made."""
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(using)
    rows = apps.get_model("auth", "Permission").objects.using(using)
    found = {}
    for model in apps.get_app_config("bookings").get_models():
        options = model._meta
        content_type, _ = content_types.get_or_create(app_label="bookings", model=options.model_name)
        names = [
            (f"{action}_{options.model_name}", f"Can {action} {options.verbose_name}")
            for action in options.default_permissions
        ]
        for codename, name in [*names, *options.permissions]:
            found[codename], _ = rows.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": name}
            )
    return found


def remove_groups(apps, schema_editor):
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    groups.filter(name__in=["Dispatch", "Ops"]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("bookings", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_groups, remove_groups)]
