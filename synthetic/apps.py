from django.apps import AppConfig


class SyntheticConfig(AppConfig):
    name = "synthetic"
    verbose_name = "Synthetic"
    default_auto_field = "django.db.models.BigAutoField"
