"""How e-mail is set up: every form of the address, and a clear refusal of everything else."""

from __future__ import annotations

import email
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from django.core import mail as outbox

from config.cli.mail import mail
from config.mail_settings import MailSettings, read_mail_settings
from core import letters
from core.errors import EnvironmentProblemError, TransientError
from core.mail import NO_MAIL, mail_is_on
from core.models import Role, RoleGrant, User

FROM = {"AUSCULT_EMAIL_FROM": "Auscult <auscult@hospital.example>"}


def read(url: str = "", *, production: bool = False, home: str = "/srv/a home#1", **more: str) -> MailSettings:
    return read_mail_settings(FROM | {"AUSCULT_EMAIL_URL": url} | more, home=Path(home), production=production)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 25, "", "", False, False)),
        ("smtp://mail.example:2525", ("mail.example", 2525, "", "", False, False)),
        ("smtp://u%40x:p%2Fw@mail.example?tls=1", ("mail.example", 587, "u@x", "p/w", True, False)),
        ("smtp://mail.example:25/?tls=0", ("mail.example", 25, "", "", False, False)),
        ("smtps://u:p@mail.example", ("mail.example", 465, "u", "p", False, True)),
        ("smtps://u:p@[::1]:4650", ("::1", 4650, "u", "p", False, True)),
    ],
)
def test_servers(url: str, expected: tuple[object, ...]) -> None:
    found = read(url)
    assert (found.host, found.port, found.user, found.password, found.use_tls, found.use_ssl) == expected
    assert found.backend.endswith("smtp.EmailBackend") and found.sender == FROM["AUSCULT_EMAIL_FROM"]


def test_other_ways() -> None:
    assert read("console://").backend.endswith("console.EmailBackend")
    assert read("file:///var/mails%20out").file_path == "/var/mails out"
    assert read("none://").backend == NO_MAIL
    assert read().file_path == "/srv/a home#1/mail", "outside production mails are written into a folder"
    assert read(production=True).backend == NO_MAIL, "production sends nothing until it is told how"
    assert read_mail_settings({}, home=Path("/srv"), production=False).sender == "Auscult <auscult@localhost>"


@pytest.mark.parametrize(
    "url",
    [
        "mail.example:25",
        "http://mail.example",
        "smtp://",
        "smtp://u:hunter2@mail.example:port",
        "smtp://u:hunter2@mail.example:99999",
        "smtp://u:hunter2@mail.example/path",
        "smtp://u:hunter2@mail.example?tls=yes",
        "smtp://u:hunter2@mail.example?starttls=1",
        "smtps://u:hunter2@mail.example?tls=1",
        "smtp://hunter2@mail.example",
        "file://folder",
        "file://",
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str) -> None:
    with pytest.raises(EnvironmentProblemError) as found:
        read(url)
    assert found.value.message.startswith("AUSCULT_EMAIL_URL ") and "smtp://user:password@" in found.value.remedy
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize("value", ["", "nobody", "a@b.example\nBcc: c@d.example"])
def test_a_server_needs_an_address_to_write_from(value: str) -> None:
    with pytest.raises(EnvironmentProblemError, match="AUSCULT_EMAIL_FROM"):
        read("smtp://mail.example", AUSCULT_EMAIL_FROM=value)


def test_the_address_of_the_installation() -> None:
    assert read(AUSCULT_BASE_URL="https://auscult.example/").base_url == "https://auscult.example"
    assert read(AUSCULT_BASE_URL="http://localhost:8000/a/").base_url == "http://localhost:8000/a"
    for wrong in ("auscult.example", "ftp://auscult.example", "https://", "https://auscult.example/?x=1"):
        with pytest.raises(EnvironmentProblemError, match="AUSCULT_BASE_URL"):
            read(AUSCULT_BASE_URL=wrong)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("config.cli.open_installation", lambda: None)
    return lambda *words: CliRunner().invoke(mail, list(words))


def test_the_trial_mail(command: Any, settings: Any) -> None:
    settings.EMAIL_FILE_PATH, settings.AUSCULT_BASE_URL = None, ""
    done = command("test", "--to", "it@hospital.example")
    assert done.exit_code == 0, done.output
    assert "Handed over for it@hospital.example" in done.output and "AUSCULT_BASE_URL is not set" in done.output
    assert outbox.outbox[0].to == ["it@hospital.example"]


def test_the_trial_mail_where_nothing_is_set_up(command: Any, settings: Any) -> None:
    settings.EMAIL_BACKEND = NO_MAIL
    assert not mail_is_on()
    done = command("test", "--to", "it@hospital.example")
    assert isinstance(done.exception, EnvironmentProblemError)
    assert "People are told in the app only" in str(done.exception)


@pytest.mark.django_db
def test_an_address_from_the_command_line(command: Any) -> None:
    ada, anna = User.objects.create(username="ada"), User.objects.create(username="anna")
    assert command("address", "anna", "anna@hospital.example", "--by", "ada").exit_code != 0
    RoleGrant.objects.create(user=ada, role=Role.ADMINISTRATOR)
    assert command("address", "anna", "anna@hospital.example", "--by", "ada").exit_code == 0
    anna.refresh_from_db()
    assert anna.email == "anna@hospital.example"


def test_each_mail_becomes_a_file_of_its_own(settings: Any, tmp_path: Any) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH = "core.mail_files.FileBackend", str(tmp_path / "a" / "mail")
    for number in range(20):
        letters.hand_over(letters.trial_letter(f"n{number}@hospital.example"))
    files = [email.message_from_bytes(file.read_bytes()) for file in (tmp_path / "a" / "mail").glob("*.eml")]
    assert {message["To"] for message in files} == {f"n{number}@hospital.example" for number in range(20)}
    settings.EMAIL_FILE_PATH = "/proc/nowhere"
    with pytest.raises(TransientError, match="cannot be used"):
        letters.hand_over(letters.trial_letter("a@hospital.example"))
