"""Every variable of the environment that Auscult reads, told once: ``docs/reference/settings.md`` is written from here.

``tests/config/test_reference.py`` compares this table with the names that the code reads, in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERYWHERE = "web server, workers, scheduler, commands"
WORKERS = "workers"


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable of the environment.

    Attributes:
        name: As it is set; a name that ends in ``_`` is the beginning of names that an operator chooses.
        meaning: What it does, as a sentence without its full stop.
        default: What holds where it is not set.
        read_by: The processes that read it.
    """

    name: str
    meaning: str
    default: str = "none"
    read_by: str = EVERYWHERE


@dataclass(frozen=True, kw_only=True)
class Group:
    """Variables that belong together."""

    title: str
    variables: tuple[Variable, ...]


INSTALLATION = Group(
    title="The installation",
    variables=(
        Variable(
            name="AUSCULT_ENV",
            meaning="`production` demands a secret key, keys for signing that were made on purpose, host names, secure "
            "cookies and TLS",
            default="`development`",
        ),
        Variable(name="AUSCULT_HOME", meaning="Folder of all state but the PostgreSQL database", default="`var`"),
        Variable(
            name="AUSCULT_SECRET_KEY",
            meaning="Signs sessions, cursors and links, and encrypts the secrets of webhooks; 50 random characters",
            default="made once in `AUSCULT_HOME/secret-key`; in production it must be set",
        ),
        Variable(
            name="AUSCULT_DATABASE_URL",
            meaning="`postgres://user:password@host:port/name`; needs the extra `production`",
            default="SQLite in `AUSCULT_HOME`",
        ),
        Variable(
            name="AUSCULT_REDIS_URL",
            meaning="Broker of the workers: `redis://…`, `rediss://…` or `redis+socket:///…`",
            default="`redis://127.0.0.1:6379/0`",
        ),
        Variable(
            name="AUSCULT_S3_URL",
            meaning="Bucket of an S3-compatible object store behind the folder `store`, for several machines: "
            "`https://HOST:PORT/BUCKET/PREFIX` or `s3://BUCKET`; keys as `AWS_ACCESS_KEY_ID` and "
            "`AWS_SECRET_ACCESS_KEY`",
            default="none",
        ),
        Variable(name="AUSCULT_TIME_ZONE", meaning="Time zone of pages", default="`UTC`"),
        Variable(
            name="AUSCULT_LOG_LEVEL",
            meaning="Least level of what is written to standard error: `DEBUG`, `INFO`, `WARNING` or `ERROR`",
            default="`INFO`",
        ),
    ),
)
WEB = Group(
    title="The web server",
    variables=(
        Variable(
            name="AUSCULT_HOSTS",
            meaning="Host names that are answered, separated by commas",
            default="`localhost` and loopback; in production none",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_ORIGINS",
            meaning="Trusted origins of forms behind a proxy, such as `https://auscult.hospital.example`",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_TLS_REDIRECT",
            meaning="In production: `0` leaves the redirect from http to https to the proxy",
            default="`1`",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_BASE_URL",
            meaning="What people type to open the installation; links in mails begin with it. Without it mails say "
            "where to look",
            read_by="web server, workers",
        ),
        Variable(
            name="AUSCULT_MFA_ROLES",
            meaning="Roles whose holders set up a second factor before anything else, separated by commas",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_PROXIES",
            meaning="Proxies before the web server whose `X-Forwarded-For` is believed when sign-ins are counted",
            default="0",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_OIDC_URL",
            meaning="Issuer of single sign-on by OpenID Connect, such as `https://login.hospital.example/realms/staff`",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_OIDC_CLIENT_ID",
            meaning="What the identity provider calls this installation",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_OIDC_CLIENT_SECRET",
            meaning="The secret that it gave to this installation",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_OIDC_NAME",
            meaning="What people call it; it stands on the button",
            default="`your hospital's account`",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_OIDC_HOSTS",
            meaning="Further origins that signing in there leads through, such as `https://mfa.hospital.example`",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_OIDC_LINK_BY_EMAIL",
            meaning="`1` finds the account of somebody who signs in there for the first time by the e-mail address "
            "that the provider verified; otherwise people connect it themselves, on the page of their account",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_API_RATE",
            meaning="Requests that one token of the programming interface may make in a minute; `0` for any number",
            default="600",
            read_by="web server",
        ),
        Variable(
            name="AUSCULT_GROUP_ATTRIBUTES",
            meaning="What a site may tell of the group of an output, besides sex and age band, separated by commas",
            read_by="web server, commands",
        ),
        Variable(
            name="AUSCULT_IMPORT_ROOTS",
            meaning="Folders on the server that pages and programs may be told to read cohorts, models and deliveries "
            "from, separated by the path separator (`:`)",
            default="none but `sources`, `uploads`, `scratch` and `cache` in `AUSCULT_HOME`",
            read_by="web server, workers",
        ),
    ),
)
WORK = Group(
    title="Workers and the scheduler",
    variables=(
        Variable(
            name="AUSCULT_DEVICE",
            meaning="What a `gpu` worker runs models on: `cpu`, `cuda`, `cuda:1`, or `auto` (a CUDA device if there "
            "is one)",
            default="`auto`",
            read_by=WORKERS,
        ),
        Variable(
            name="AUSCULT_THREADS",
            meaning="Threads that a `gpu` worker computes with on the CPU, decoding included; 1 pins it to one",
            default="as many as cores",
            read_by=WORKERS,
        ),
        Variable(
            name="AUSCULT_MODEL_MEMORY",
            meaning="Memory for models that a worker keeps loaded, such as `8G`",
            default="80 % of a CUDA device's, 40 % of the machine's",
            read_by=WORKERS,
        ),
        Variable(
            name="AUSCULT_DEVICES",
            meaning="Embedded installation: a device for each `gpu` worker, such as `cuda:0,cuda:1` or `cpu,cpu`",
            default="each CUDA device, else one worker",
            read_by="`auscult demo`",
        ),
        Variable(
            name="AUSCULT_GPU_WORKERS",
            meaning="Embedded installation: so many `gpu` workers on the CPU, which share its cores",
            default="1",
            read_by="`auscult demo`",
        ),
        Variable(
            name="AUSCULT_LEASE_SECONDS",
            meaning="A worker that was silent for so long is taken for dead, and its work is given to another",
            default="120",
            read_by=WORKERS,
        ),
        Variable(
            name="AUSCULT_SWEEP_SECONDS",
            meaning="How often lost and due work is looked for",
            default="30",
            read_by="scheduler",
        ),
        Variable(
            name="AUSCULT_HEAD_SECONDS",
            meaning="How often the head of the ledger is signed",
            default="3600",
            read_by="scheduler",
        ),
        Variable(
            name="AUSCULT_DELIVERY_DAYS",
            meaning="Days for which rows that were delivered to a monitor are kept after the last window that they "
            "lie in has ended; see [what is kept how long](../drift/sources.md#what-is-kept-how-long)",
            default="90",
            read_by=WORKERS,
        ),
        Variable(
            name="AUSCULT_JUDGES",
            meaning="Folder with one folder for each further judge of reports (`nli`, `chexbert`, `radgraph`, `green`)",
            default="none: judges are absent, and the evidence says so",
            read_by=WORKERS,
        ),
    ),
)
SIGNING = Group(
    title="Signing and the record",
    variables=(
        Variable(
            name="AUSCULT_SIGNING_KEY_FILE",
            meaning="Ed25519 key (PEM) that signs bundles, releases and heads of the ledger; production makes none "
            "by itself",
            default="made once in `AUSCULT_HOME/keys` outside production",
        ),
        Variable(
            name="AUSCULT_CERTIFICATE_FILE",
            meaning="PKCS#12 file with the certificate and private key (RSA or elliptic) that sign PDF reports; "
            "production makes none by itself",
            default="one that says it is self-made, in `AUSCULT_HOME/keys`, outside production",
        ),
        Variable(name="AUSCULT_CERTIFICATE_PASSWORD", meaning="Opens `AUSCULT_CERTIFICATE_FILE`"),
        Variable(
            name="AUSCULT_TIMESTAMP_URL",
            meaning="Time-stamping authority (RFC 3161) for reports and bundles; only digests are sent",
            read_by=WORKERS,
        ),
        Variable(
            name="AUSCULT_LEDGER_EXPORT",
            meaning="Folder outside of this installation that gets a copy of each signed head of the ledger",
            read_by="workers, commands",
        ),
    ),
)
MAIL = Group(
    title="E-mail",
    variables=(
        Variable(
            name="AUSCULT_EMAIL_URL",
            meaning="How e-mail leaves the house; see [operations](../operations.md#e-mail)",
            default="files in `AUSCULT_HOME/mail`; in production none is sent",
            read_by="web server, workers",
        ),
        Variable(
            name="AUSCULT_EMAIL_FROM",
            meaning="Address that mails come from, such as `Auscult <auscult@hospital.example>`; a mail server "
            "demands it",
            default="`auscult@localhost`",
            read_by="web server, workers",
        ),
    ),
)
OTHERS = Group(
    title="What may be reached",
    variables=(
        Variable(
            name="AUSCULT_SOURCE_",
            meaning="Addresses and tokens of the tables and FHIR servers that monitors read; a monitor names the "
            "variable",
            read_by=WORKERS,
        ),
        Variable(
            name="AUSCULT_WEBHOOK_HOSTS",
            meaning="Names or addresses of machines of the house that webhooks may reach, separated by commas",
            default="none: public addresses over https only",
            read_by="web server, workers",
        ),
        Variable(
            name="AUSCULT_ENDPOINT_HOSTS",
            meaning="Hosts (`name` or `name:port`, commas) that models behind an endpoint may be asked at",
            default="none, loopback neither",
            read_by="web server, workers",
        ),
        Variable(
            name="AUSCULT_ENDPOINT_KEY",
            meaning="API key that a registered endpoint may name, also `AUSCULT_ENDPOINT_KEY_<NAME>`. Sent in clear "
            "over `http://`: use `https://` beyond a trusted network",
            read_by=WORKERS,
        ),
    ),
)
COMMANDS = Group(
    title="Commands",
    variables=(
        Variable(
            name="AUSCULT_USER",
            meaning="On whose behalf `auscult` acts where `--by` or `--as` is not given",
            default="where an option says so, the login name; else the option must be given",
            read_by="commands",
        ),
        Variable(
            name="AUSCULT_SERVER",
            meaning="The installation that `auscult api` asks, where `--server` is not given",
            default="`http://127.0.0.1:8000`",
            read_by="commands",
        ),
        Variable(
            name="AUSCULT_TOKEN",
            meaning="The token that `auscult api` sends",
            default="it must be set",
            read_by="commands",
        ),
        Variable(
            name="AUSCULT_PASSWORD",
            meaning="The password of whoever signs, for commands that ask for it",
            default="it is asked for",
            read_by="commands",
        ),
    ),
)
GROUPS = (INSTALLATION, WEB, WORK, SIGNING, MAIL, OTHERS, COMMANDS)


def all_variables() -> tuple[Variable, ...]:
    """Every variable, in the order of the page."""
    return tuple(variable for group in GROUPS for variable in group.variables)
