from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="RoutingStatistics",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("process", models.CharField(max_length=32)),
                ("resolution", models.PositiveIntegerField()),
                ("start", models.BigIntegerField()),
                ("data", models.JSONField()),
            ],
            options={
                "verbose_name": "read/write routing",
                "verbose_name_plural": "read/write routing",
                "permissions": [("view_routing", "Can view read/write routing")],
                "default_permissions": (),
                "indexes": [models.Index(fields=["resolution", "start"], name="rwrouter_statistics_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("process", "resolution", "start"), name="rwrouter_statistics_row"
                    )
                ],
            },
        ),
    ]
