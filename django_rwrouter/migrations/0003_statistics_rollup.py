from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_rwrouter", "0002_routingoverride")]

    operations = [
        # With defaults in the database: processes of the version before go on writing meanwhile.
        migrations.AddField(
            model_name="routingstatistics",
            name="written",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="routingstatistics",
            name="final",
            field=models.BooleanField(db_default=False),
        ),
    ]
