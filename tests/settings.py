"""Settings of the tests: a home folder of their own that is removed at the end, and a broker that keeps nothing."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

_home = tempfile.mkdtemp(prefix="auscult-tests-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["AUSCULT_HOME"] = _home
os.environ.pop("AUSCULT_DATABASE_URL", None)
os.environ["AUSCULT_REDIS_URL"] = "memory://"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from config.settings import *  # noqa: E402, F403

CACHES = {name: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": name} for name in CACHES}  # noqa: F405
# A test's rows are seen by its own thread alone.
KEPT_BEHIND = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
