from django.db import migrations, models


def mark_incomplete(apps, schema_editor):
    parts = apps.get_model('bookings', 'InboundMessage').objects.filter(outcome='part')
    parts.exclude(attention='').update(is_incomplete=True)


class Migration(migrations.Migration):

    dependencies = [
        ('bookings', '0002_groups'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='inboundmessage',
            name='inbound_needs_attention',
        ),
        migrations.RemoveIndex(
            model_name='inboundmessage',
            name='inbound_part_waits',
        ),
        migrations.AddField(
            model_name='inboundmessage',
            name='is_incomplete',
            field=models.BooleanField(default=False, help_text="This part's text did not become whole in time: a person sees to it."),
        ),
        migrations.RunPython(mark_incomplete, migrations.RunPython.noop),
        migrations.RemoveField(
            model_name='inboundmessage',
            name='attention',
        ),
        migrations.AddIndex(
            model_name='inboundmessage',
            index=models.Index(condition=models.Q(('is_incomplete', False), ('joined_in', None), ('outcome', 'part')), fields=['received_at'], name='inbound_part_waits'),
        ),
    ]
