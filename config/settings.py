"""Settings, read from the environment. Production refuses to start with a default secret.

``AUSCULT_HOME`` is the one folder that holds state: database, store, keys, logs. See ``docs/operations.md``.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

from config.mail_settings import read_mail_settings
from config.sign_in_settings import cache_settings, sign_on_settings
from core.errors import EnvironmentProblemError
from core.object_storage import Bucket

BASE_DIR = Path(__file__).resolve().parent.parent
PRODUCTION = os.environ.get("AUSCULT_ENV", "development") == "production"
AUSCULT_HOME = Path(os.environ.get("AUSCULT_HOME", BASE_DIR / "var")).resolve()


def _secret_key() -> str:
    """The signing key of sessions: from the environment, else (outside production) made once and kept."""
    if value := os.environ.get("AUSCULT_SECRET_KEY"):
        return value
    if PRODUCTION:
        raise EnvironmentProblemError("AUSCULT_SECRET_KEY is not set.", remedy="Set it to 50 random characters.")
    path = AUSCULT_HOME / "secret-key"
    if not path.exists():
        AUSCULT_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return path.read_text()
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_urlsafe(50))
    return path.read_text()


def _database() -> dict[str, object]:
    """SQLite in write-ahead mode, or PostgreSQL by URL (``postgres://user:password@host:port/name``)."""
    url = os.environ.get("AUSCULT_DATABASE_URL", "")
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": AUSCULT_HOME / "auscult.sqlite3",
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
            },
        }
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise EnvironmentProblemError(
            f"AUSCULT_DATABASE_URL begins with {parts.scheme}://, which is not supported.",
            remedy="Use postgres://user:password@host:port/name, or leave it out for SQLite.",
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        # Pages join up to twelve tables for few rows: trying every order of them took longer than the answer.
        "OPTIONS": {"options": "-c jit=off -c join_collapse_limit=4"},
    }


def _whole_number(name: str, default: int) -> int:
    """A whole number from the environment, 0 or more."""
    value = os.environ.get(name, str(default))
    if not value.isdecimal():
        raise EnvironmentProblemError(f"{name} is {value!r}.", remedy="Give a whole number, or leave it out.")
    return int(value)


SECRET_KEY = _secret_key()
DEBUG = False
ALLOWED_HOSTS = os.environ.get("AUSCULT_HOSTS", "" if PRODUCTION else "localhost,127.0.0.1,[::1],testserver").split(",")
CSRF_TRUSTED_ORIGINS = [origin for origin in os.environ.get("AUSCULT_ORIGINS", "").split(",") if origin]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "django_celery_beat",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "django_htmx",
    "csp",
    "core",
    "models_registry",
    "evaluation",
    "synthetic",
    "governance",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "core.pages.compression.CompressionMiddleware",
    "core.kept.KeptMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "core.pages.reach.ReachMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "core.pages.factor_gate.FactorGate",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "csp.middleware.CSPMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "core.pages.shell",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
DATABASES = {"default": _database()}
AUTH_USER_MODEL = "core.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
CSRF_FAILURE_VIEW = "core.pages.errors.form_expired"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = os.environ.get("AUSCULT_TIME_ZONE", "UTC")
USE_TZ = True
USE_I18N = True
# Languages of pages: chosen by a person, else what the browser asks for. Reports have a language of their own.
LANGUAGES = [("en-gb", "English"), ("de", "Deutsch")]
LANGUAGE_COOKIE_NAME = "language"
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_HTTPONLY = True
FORMAT_MODULE_PATH = ["config.formats"]
LOCALE_PATHS = [BASE_DIR / "locale"]

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = AUSCULT_HOME / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Charts are drawn once for every worker, and their sizes known to all of them; each is named by its content.
CACHES = {
    "default": cache_settings(os.environ.get("AUSCULT_REDIS_URL", "")),
    "pictures": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": AUSCULT_HOME / "pictures",
        "TIMEOUT": None,
        "OPTIONS": {"MAX_ENTRIES": 4000},
    },
}
# What pages keep is worked out anew by a thread behind them (core.kept), with a connection of its own to the database.
KEPT_BEHIND = True
# Where content lies besides the folder "store"; see docs/operations.md, "Several machines".
AUSCULT_BUCKET = Bucket.parse(_S3_URL) if (_S3_URL := os.environ.get("AUSCULT_S3_URL", "")) else None
WHITENOISE_USE_FINDERS = True
MEDIA_ROOT = AUSCULT_HOME / "uploads"
FILE_UPLOAD_TEMP_DIR = None
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_MAIL = read_mail_settings(os.environ, home=AUSCULT_HOME, production=PRODUCTION)
EMAIL_BACKEND = _MAIL.backend
EMAIL_HOST = _MAIL.host
EMAIL_PORT = _MAIL.port
EMAIL_HOST_USER = _MAIL.user
EMAIL_HOST_PASSWORD = _MAIL.password
EMAIL_USE_TLS = _MAIL.use_tls
EMAIL_USE_SSL = _MAIL.use_ssl
EMAIL_FILE_PATH = _MAIL.file_path
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = _MAIL.sender
# What people type to open the installation; links in mails begin with it.
AUSCULT_BASE_URL = _MAIL.base_url

# Signing in; see docs/sign-in.md. Tries are limited by the library: five failures in five minutes for one name.
ACCOUNT_ADAPTER = "core.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Auscult: "
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_SESSION_COOKIE_AGE = 8 * 3600
ACCOUNT_LOGOUT_REDIRECT_URL = LOGOUT_REDIRECT_URL
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ALLAUTH_TRUSTED_PROXY_COUNT = _whole_number("AUSCULT_PROXIES", 0)
MFA_ADAPTER = "core.adapters.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "Auscult"
MFA_TOTP_TOLERANCE = 1
# Browsers let pages without TLS use keys on the machine itself alone; the library asks for this word besides.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION
# Roles whose holders set up a second factor before anything else; core.factors says if one is unknown.
AUSCULT_MFA_ROLES = [role.strip() for role in os.environ.get("AUSCULT_MFA_ROLES", "").split(",") if role.strip()]
_SIGN_ON = sign_on_settings(os.environ, production=PRODUCTION)
SOCIALACCOUNT_ADAPTER = "core.adapters.SignOnAdapter"
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": _SIGN_ON.apps}}
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""
AUSCULT_SIGN_ON_BY_ADDRESS = _SIGN_ON.by_address

# No inline script or style anywhere, nothing from other hosts.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'", *_SIGN_ON.hosts],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
if PRODUCTION:
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    LANGUAGE_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = os.environ.get("AUSCULT_TLS_REDIRECT", "1") == "1"
    SECURE_HSTS_SECONDS = 31536000
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

AUSCULT_REDIS_URL = os.environ.get("AUSCULT_REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_BROKER_URL = AUSCULT_REDIS_URL
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "cpu"
CELERY_TASK_ROUTES = {
    "evaluation.tasks.run_shard": {"queue": "gpu"},
    "evaluation.tasks.prepare_monitor": {"queue": "gpu"},
    "models_registry.tasks.train": {"queue": "gpu"},
    "synthetic.tasks.train_generator": {"queue": "gpu"},
    "synthetic.tasks.make_patients": {"queue": "gpu"},
}
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 24 * 3600}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = "UTC"
SWEEP_SECONDS = float(os.environ.get("AUSCULT_SWEEP_SECONDS", "30"))
CELERY_BEAT_SCHEDULE = {
    f"{app}-sweep": {"task": f"{app}.tasks.sweep", "schedule": SWEEP_SECONDS}
    for app in ("core", "models_registry", "evaluation", "synthetic", "governance")
} | {
    "sign-ledger-head": {
        "task": "core.tasks.sign_head",
        "schedule": float(os.environ.get("AUSCULT_HEAD_SECONDS", "3600")),
    }
}
# A folder outside of this installation that gets a copy of each signed head of the ledger.
AUSCULT_LEDGER_EXPORT = os.environ.get("AUSCULT_LEDGER_EXPORT", "")
# A worker that has not renewed its lease for this long is taken for dead.
AUSCULT_LEASE_SECONDS = int(os.environ.get("AUSCULT_LEASE_SECONDS", "120"))
# Days for which the rows that were delivered to a monitor are kept after the last window that they lie in has ended.
AUSCULT_DELIVERY_DAYS = _whole_number("AUSCULT_DELIVERY_DAYS", 90)
# Folders on the server whose files a page may be told to read, separated by the system's path separator.
AUSCULT_IMPORT_ROOTS = [
    Path(folder).resolve() for folder in os.environ.get("AUSCULT_IMPORT_ROOTS", "").split(os.pathsep) if folder
] + [AUSCULT_HOME / name for name in ("sources", "uploads", "scratch", "cache")]
# What a site may tell of the group of an output, besides sex and age band; see docs/governance/oversight.md.
AUSCULT_GROUP_ATTRIBUTES = [name for name in os.environ.get("AUSCULT_GROUP_ATTRIBUTES", "").split(",") if name]
# Requests that a token of the programming interface may make in a minute; 0 for any number. See docs/api.md.
AUSCULT_API_RATE = _whole_number("AUSCULT_API_RATE", 600)
# What the worker that runs models computes on and with; see docs/operations.md.
AUSCULT_DEVICE = os.environ.get("AUSCULT_DEVICE", "auto")
AUSCULT_THREADS = _whole_number("AUSCULT_THREADS", 0)
AUSCULT_MODEL_MEMORY = os.environ.get("AUSCULT_MODEL_MEMORY", "")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("AUSCULT_LOG_LEVEL", "INFO")},
    "loggers": {"botocore": {"level": "WARNING"}},
}
