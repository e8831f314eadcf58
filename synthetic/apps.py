from django.apps import AppConfig


class SyntheticConfig(AppConfig):
    name = "synthetic"
    verbose_name = "Synthetic"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import synthetic.reach  # noqa: F401 - says what belongs to which system
        from evaluation.execution.computed import announce
        from synthetic.auditing import LinkedComputer

        announce(LinkedComputer())
