from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_rwrouter", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="RoutingOverride",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=16)),
                ("target", models.CharField(max_length=200)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("made_by", models.CharField(blank=True, max_length=150)),
                ("made_at", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "routing override",
                "verbose_name_plural": "routing overrides",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("kind", "target"), name="rwrouter_override_row")
                ],
            },
        ),
        migrations.AlterModelOptions(
            name="routingstatistics",
            options={
                "verbose_name": "read/write routing",
                "verbose_name_plural": "read/write routing",
                "permissions": [
                    ("view_routing", "Can view read/write routing"),
                    ("change_routing", "Can drain replicas and switch routing off"),
                ],
                "default_permissions": (),
            },
        ),
    ]
