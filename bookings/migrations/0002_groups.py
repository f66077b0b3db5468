"""Three groups: Dispatch works with bookings, Ops keeps the sending going, an Auditor only reads.

Whoever reads sees masked numbers. Users, groups and retention are for superusers.
"""

from django.db import migrations

VIEWED_BY_DISPATCH = (
    *("booking", "slot", "slotchange", "notification", "slotoption"),
    *("outboundmessage", "inboundmessage", "consent", "consentchange"),
    *("ticket", "batch", "batchentry", "manifest", "weeklyslot", "closedday"),
)
DISPATCH_MAY = (
    *("add_booking", "change_booking", "add_slot", "change_slot"),
    *("add_weeklyslot", "change_weeklyslot", "delete_weeklyslot"),
    *("add_closedday", "change_closedday", "delete_closedday"),
    *("notify_booking", "reveal_number"),
    # To see to what needs a person; to import a manifest; to record a wish given by phone.
    *("change_ticket", "add_manifest", "add_consentchange"),
)
# To change the circuit is to keep sending going: to close it, to release held texts, to run the rule again.
OPS_MAY = ("export_history", "change_circuit", "add_consentchange")
AUDITOR_MAY = ("export_history",)


def make_groups(apps, schema_editor):
    using = schema_editor.connection.alias
    permissions = _permissions(apps, using)
    views = [codename for codename in permissions if codename.startswith("view_")]
    codenames = {
        "Dispatch": [*(f"view_{model}" for model in VIEWED_BY_DISPATCH), *DISPATCH_MAY],
        "Ops": [*views, *OPS_MAY],
        "Auditor": [*views, *AUDITOR_MAY],
    }
    groups = apps.get_model("auth", "Group").objects.using(using)
    for name, may in codenames.items():
        group, _ = groups.get_or_create(name=name)
        group.permissions.set([permissions[codename] for codename in may])


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
    groups.filter(name__in=["Dispatch", "Ops", "Auditor"]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("bookings", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_groups, remove_groups)]
