"""``auscult api``: every operation of the interface as a command, tried against a server; completion and exit codes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner, Result

from config.cli import auscult, exits
from config.cli.api import SCHEMA, operations


class Server:
    """Answers as it is told, and keeps what was asked."""

    def __init__(self) -> None:
        self.url, self.asked = "", list[dict[str, Any]]()
        self.answers: list[tuple[int, Any, dict[str, str]]] = []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *told: Any) -> None:
            """Quiet."""

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.asked.append({"method": self.command, "path": self.path, "body": body, "headers": dict(self.headers)})
            status, told, headers = found.answers.pop(0)
            sent = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = answer

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{listening.server_address[1]}"
    monkeypatch.setenv("AUSCULT_SERVER", found.url)
    monkeypatch.setenv("AUSCULT_TOKEN", "auscult_secret")
    yield found
    listening.shutdown()
    listening.server_close()
    thread.join()


def run(*words: str, told: str | None = None) -> Result:
    return CliRunner().invoke(auscult, ["api", *words], input=told)


def test_every_operation_of_the_interface_is_a_command() -> None:
    paths = json.loads(SCHEMA.read_text())["paths"]
    names = {item["operationId"].replace("_", "-") for methods in paths.values() for item in methods.values()
             if isinstance(item, dict) and "operationId" in item}  # fmt: skip
    assert names == set(operations()) and len(names) > 50
    for name in names:
        told = run(name, "--help")
        assert told.exit_code == 0 and f"auscult api {name}" in told.output, told.output


def test_a_request_carries_the_token_the_body_and_a_key(server: Server) -> None:
    server.answers = [(201, {"id": 40, "status": "queued"}, {})]
    told = run(
        "request-audit", "--version", "12", "--cohort", "3", "--protocol", "5", "--settings", '{"batch_size": 8}'
    )
    assert told.exit_code == 0 and "queued" in told.output
    asked = server.asked[0]
    assert asked["method"] == "POST" and asked["path"] == "/api/v1/audits"
    assert json.loads(asked["body"]) == {"version": 12, "cohort": 3, "protocol": 5, "settings": {"batch_size": 8}}
    assert (
        asked["headers"]["Authorization"] == "Bearer auscult_secret" and len(asked["headers"]["Idempotency-Key"]) == 32
    )
    assert "auscult_secret" not in told.output


def test_a_body_from_a_file_with_an_option_in_its_place(server: Server) -> None:
    server.answers = [(201, {"id": 1}, {})]
    body = {"version": 1, "cohort": 3, "protocol": 5}
    assert run("request-audit", "--body", "-", "--version", "2", told=json.dumps(body)).exit_code == 0
    assert json.loads(server.asked[0]["body"])["version"] == 2


def test_lists_as_a_table_as_json_and_all_pages(server: Server) -> None:
    page = {"items": [{"slug": "chest", "name": "Chest [bold]model"}], "next": "abc"}
    server.answers = [(200, page, {}), (200, page, {}), (200, page, {}), (200, page | {"next": None}, {})]
    assert "Chest [bold]model" in run("list-systems", "--q", "chest").output
    assert server.asked[0]["path"] == "/api/v1/systems?q=chest"
    assert json.loads(run("list-systems", "--json").output) == page
    every = json.loads(run("list-systems", "--all", "--json").output)
    assert len(every["items"]) == 2 and server.asked[-1]["path"].endswith("?cursor=abc")


def test_waiting_goes_on_until_the_work_is_done(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.cli.api.POLL_SECONDS", 0.01)
    states = [{"status": "queued"}, {"status": "running", "progress": {"share": 0.5}}, {"status": "done"}]
    server.answers = [(200, {"id": 40} | state, {}) for state in states]
    told = run("get-audit", "40", "--wait", "--json")
    assert json.loads(told.stdout)["status"] == "done" and len(server.asked) == 3
    assert "running 50%" in told.stderr


def test_a_file_is_written_once_and_sent_whole(server: Server, tmp_path: Path) -> None:
    named = {"Content-Type": "application/zip", "Content-Disposition": 'attachment; filename="../bundle.zip"'}
    server.answers = [(200, b"PK bytes", named), (200, b"other", named), (200, {"received": 3}, {})]
    place = tmp_path / "bundle.zip"
    assert run("get-bundle-file", "4", "--out", str(place)).exit_code == 0 and place.read_bytes() == b"PK bytes"
    again = run("get-bundle-file", "4", "--out", str(place))
    assert again.exit_code == exits.BAD_INPUT and place.read_bytes() == b"PK bytes"
    assert run("send-file", "7", "--path", "m.tar", "--file", str(place)).exit_code == 0
    assert server.asked[-1]["method"] == "PUT" and server.asked[-1]["body"] == b"PK bytes"


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, exits.DENIED), (403, exits.DENIED), (404, exits.NOT_THERE), (409, exits.BAD_INPUT), (422, exits.BAD_INPUT),
     (429, exits.UNREACHABLE), (503, exits.UNREACHABLE)],
)  # fmt: skip
def test_a_refusal_is_told_in_the_servers_words_with_its_own_exit_code(server: Server, status: int, code: int) -> None:
    server.answers = [(status, {"title": "No", "detail": "It is not so.", "remedy": "Do this."}, {})]
    told = run("get-audit", "40")
    assert told.exit_code == code
    assert "Error: It is not so." in told.stderr and "What to do: Do this." in told.stderr and told.stdout == ""


def test_what_cannot_be_sent_is_refused_before_it_is(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Missing: --cohort, --protocol" in run("request-audit", "--version", "1").stderr
    assert "no JSON" in run("request-audit", "--version", "1", "--settings", "{").stderr
    assert "open line" in run("get-audit", "1", "--server", "http://auscult.example").stderr
    assert run("get-audit", "1", "--server", "http://127.0.0.1:9").exit_code == exits.UNREACHABLE
    monkeypatch.delenv("AUSCULT_TOKEN")
    told = run("get-audit", "1")
    assert told.exit_code == exits.BAD_INPUT and "auscult token create" in told.stderr
    assert server.asked == []


def test_the_exit_codes_stand_in_the_help() -> None:
    told = CliRunner().invoke(auscult, ["--help"]).output
    for code, said in exits.MEANINGS.items():
        assert re.search(rf"\b{code}  {re.escape(said[:30])}", told)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    told = CliRunner().invoke(auscult, ["completion", shell])
    assert told.exit_code == 0 and "_AUSCULT_COMPLETE" in told.output
    kind = get_completion_class(shell)
    assert kind is not None
    asked = kind(auscult, {}, "auscult", "_AUSCULT_COMPLETE")
    assert [item.value for item in asked.get_completions(["api"], "request-a")] == ["request-audit"]
    assert {"--version", "--cohort"} <= {item.value for item in asked.get_completions(["api", "request-audit"], "--")}
