from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Core"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core.account_events import listen
        from core.factors import check_factor_roles

        check_factor_roles()
        listen()
