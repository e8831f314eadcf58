from django.apps import AppConfig


class ModelsRegistryConfig(AppConfig):
    name = "models_registry"
    verbose_name = "Models registry"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import models_registry.reach  # noqa: F401 - says what belongs to which system
