"""The endpoint adapter, against a server on loopback that speaks the protocol over HTTP."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import time

import numpy as np
import pytest
from PIL import Image

from core.errors import AdapterError, TransientError
from models_registry.adapters import chat
from models_registry.adapters.base import ADAPTERS, Answers, Capability, InferenceSettings
from models_registry.cohorts.schema import StudyBatch
from tests.adapters.conftest import reordered
from tests.adapters.models_g3 import chat_server, completion, save_endpoint, send, well

ENDPOINT = ADAPTERS.get("endpoint")
SECRET = "sk-very-secret"


@pytest.fixture(scope="module")
def running():
    with chat_server() as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    running.clear()
    monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", running.host)
    monkeypatch.setattr(chat, "FIRST_WAIT", 0.01)
    return running


@pytest.fixture
def load(server, tmp_path):
    def load(**more):
        return ENDPOINT.load(save_endpoint(tmp_path, server.host, **more), settings=InferenceSettings(seed=5))

    return load


def studies(n=1, text="Cough."):
    rng = np.random.default_rng(0)
    return StudyBatch(
        study_ids=tuple(f"study-{k}" for k in range(n)),
        patient_ids=tuple(f"patient-{k}" for k in range(n)),
        images=[rng.integers(0, 256, (9, 7), np.uint8) for _ in range(n)],
        texts={"indication": [f"{text} {k}" for k in range(n)], "reference": ["Effusion."] * n},
        covariates={"sex": ["F"] * n},
    )


def refused(folder) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        ENDPOINT.inspect(folder)
    assert caught.value.remedy
    return caught.value


def fails(adapter, kind=AdapterError) -> str:
    with pytest.raises(kind) as caught:
        adapter.predict(studies())
    assert caught.value.remedy
    return str(caught.value)


def test_a_request_holds_what_was_asked_for_and_nothing_else(load, server):
    load(system="You read chest radiographs.").predict(studies())
    (body,), (path,) = server.bodies, server.paths
    assert path == "/v1/chat/completions"
    assert {key: body[key] for key in ("model", "max_tokens", "temperature", "seed", "stream")} == {
        "model": "tiny", "max_tokens": 64, "temperature": 0, "seed": 7, "stream": False,
    }  # fmt: skip
    system, user = body["messages"]
    assert system == {"role": "system", "content": "You read chest radiographs."}
    text, image = user["content"]
    assert text == {"type": "text", "text": "Write the report.\n\nIndication:\nCough. 0"}
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), studies().images[0])
    sent = json.dumps(body)
    assert not any(word in sent for word in ("study-0", "patient-0", "Effusion", '"F"'))
    assert "Authorization" not in server.headers[0]


def test_the_seed_of_the_run_counts_where_none_is_written(load, server):
    load(generation=None).predict(studies())
    assert (server.bodies[0]["seed"], server.bodies[0]["temperature"]) == (5, 0)


def test_answers_come_back_in_order_and_do_not_depend_on_company(load, server):
    adapter, batch = load(concurrency=8), studies(20)
    slow = [lambda handler, body: (time.sleep(0.1), well(handler, body))] * 3
    server.then.extend(slow)
    whole = adapter.predict(batch).texts["generated"]
    assert len(set(whole)) == 20
    assert 1 < server.most_together <= 8
    rows = [7, 3, 19, 0]
    assert adapter.predict(reordered(batch, rows)).texts["generated"].tolist() == whole[rows].tolist()


def test_concurrency_one_asks_one_after_the_other(load, server):
    load(concurrency=1).predict(studies(5))
    assert server.most_together == 1


def test_tokens_are_counted(load, server):
    adapter = load()
    server.then.append(lambda handler, body: send(handler, completion("Cut", "length", usage=None)))
    adapter.predict(studies(4))
    assert adapter.usage == {
        "requests": 4, "tries": 4, "prompt_tokens": 33, "completion_tokens": 9, "uncounted": 1, "cut_off": 1,
        "filtered": 0,
    }  # fmt: skip
    assert adapter.answered_by == {"tiny"}


def test_questions_stand_where_the_prompt_stands(load, server):
    adapter = load(concurrency=1)
    assert isinstance(adapter, Answers)
    found = adapter.answer(studies(2), ["Is there an effusion?", "Which view?"])
    texts = [body["messages"][0]["content"][0]["text"] for body in server.bodies]
    assert texts == ["Is there an effusion?\n\nIndication:\nCough. 0", "Which view?\n\nIndication:\nCough. 1"]
    assert all(isinstance(text, str) for text in found)
    with pytest.raises(AdapterError, match="1 questions for 2"):
        adapter.answer(studies(2), ["Why?"])


def test_what_is_missing_is_not_asked_about(load, server):
    batch = studies(3)
    batch.images[0] = None
    batch.texts["indication"][1] = " "
    found = load().predict(batch).texts["generated"]
    assert found[0] is None
    assert isinstance(found[1], str) and isinstance(found[2], str)
    assert len(server.bodies) == 2
    del batch.texts["indication"]
    assert load(image=False).predict(batch).texts["generated"].tolist() == [None] * 3


def test_optional_inputs_may_be_missing_but_not_all_of_them(load, server):
    batch = studies(2)
    batch.images[:] = [None, None]
    batch.texts["indication"][1] = None
    found = load(required=[]).predict(batch).texts["generated"]
    assert isinstance(found[0], str) and found[1] is None
    assert server.bodies[0]["messages"][0]["content"] == "Write the report.\n\nIndication:\nCough. 0"


def test_inspection_says_that_no_digest_binds_the_weights(load):
    info = load().info
    assert not info.runs_weights
    assert "not bound by a digest" in info.details["weights"]
    assert info.capabilities == {Capability.GENERATE, Capability.ANSWER}
    assert (info.modalities, info.required) == (("image", "text.indication"), ("image",))
    json.dumps(info.to_dict())


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_fault_that_passes_is_waited_out(load, server, status):
    server.then.append(lambda handler, body: send(handler, {"error": "busy"}, status=status))
    adapter = load()
    assert adapter.predict(studies()).texts["generated"][0]
    assert adapter.usage["tries"] == 2


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [("3", 3, 3), ("86400", 30, 30), ("soon", 0.01, 0.01), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.01, 0.01)],
)
def test_the_server_is_given_the_time_it_asks_for_up_to_a_limit(load, server, said, least, most):
    server.then.append(lambda handler, body: send(handler, {}, status=429, Retry_After=said))
    waits = []
    adapter = load()
    adapter.client = chat.ChatClient(
        place=adapter.client.place, key=None, timeout=5, retries=2, wait=lambda seconds: waits.append(seconds)
    )
    adapter.predict(studies())
    assert len(waits) == 1 and least <= waits[0] <= most


def test_pauses_double(load, server):
    server.then.extend([lambda handler, body: send(handler, {}, status=500)] * 4)
    waits = []
    place = load().client.place
    with pytest.raises(TransientError):
        chat.ChatClient(place=place, key=None, timeout=5, retries=3, wait=waits.append).complete({"messages": []})
    assert waits == [0.01, 0.02, 0.04]


def closed(handler, body):
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.connection.close()


def half(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')


def dripping(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        time.sleep(0.05)


FAULTS = {
    "closed": (closed, "RemoteDisconnected|ConnectionReset"),
    "half": (half, "IncompleteRead"),
    "dripping": (dripping, "TimeoutError"),
    "slow": (lambda handler, body: time.sleep(0.6), "TimeoutError"),
    "busy": (lambda handler, body: send(handler, {}, status=503), "HTTP 503"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_stays_is_for_the_worker_to_try_again(load, server, name):
    fault, said = FAULTS[name]
    server.then.extend([fault] * 2)
    adapter = load(timeout_seconds=0.3, retries=1)
    with pytest.raises(TransientError, match=said) as caught:
        adapter.predict(studies())
    assert "2 tries" in caught.value.message
    assert len(server.bodies) == 2


def test_a_server_that_is_away_is_for_the_worker_to_try_again(server, tmp_path, monkeypatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{held.getsockname()[1]}"
    monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", host)
    adapter = ENDPOINT.load(save_endpoint(tmp_path, host, retries=1), settings=InferenceSettings())
    assert "ConnectionRefusedError" in fails(adapter, TransientError)


def test_nothing_more_is_asked_after_a_failure(load, server):
    server.then.append(lambda handler, body: send(handler, {}, status=400))
    with pytest.raises(AdapterError):
        load(concurrency=1).predict(studies(30))
    assert len(server.bodies) == 1


BAD_ANSWERS = {
    "no JSON": (b"{'choices': []", "JSON cannot be read"),
    "deep": (b"[" * 100_000, "JSON cannot be read"),
    "a list": ([], "no choices"),
    "no choices": ({"error": {"message": "no"}}, "no choices"),
    "empty choices": ({"choices": []}, "no choices"),
    "no message": ({"choices": [{"text": "old protocol"}]}, "no text"),
    "no content": (completion(None, "length"), "stopped at max_tokens"),
    "parts": (completion([{"type": "text", "text": "a"}]), "no text"),
    "too long": (completion("a" * 100_001), "100,001 characters"),
    "huge": (b" " * 4_100_000, "4,000,000 bytes"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_answer_that_is_no_completion_is_an_error(load, server, name):
    body, said = BAD_ANSWERS[name]
    server.then.append(lambda handler, _: send(handler, body))
    assert said in fails(load())
    assert len(server.bodies) == 1


def test_half_a_character_in_an_answer_is_replaced(load, server):
    text = "No \ud83d effusion \ud83d\ude00."
    server.then.append(lambda handler, body: send(handler, completion(text)))
    said = load().predict(studies(1)).texts["generated"][0]
    assert said == "No \ufffd effusion \U0001f600.", "it could be kept in no store"


def test_another_content_type_is_an_error(load, server):
    server.then.append(lambda handler, body: send(handler, completion("x"), kind="text/event-stream"))
    assert "text/event-stream" in fails(load())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
def test_a_refusal_is_not_tried_again_and_not_quoted(load, server, status):
    server.then.append(lambda handler, body: send(handler, {"error": {"message": "Cough. 0"}}, status=status))
    said = fails(load())
    assert str(status) in said and "Cough" not in said
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(load, server, status):
    with chat_server() as other:
        there = f"http://{other.host}/v1/chat/completions"
        server.then.append(lambda handler, body: send(handler, {}, status=status, Location=there))
        assert "redirect" in fails(load())
        assert other.bodies == []


def test_proxies_of_the_environment_are_not_used(load, server, monkeypatch):
    with chat_server() as other:
        monkeypatch.setenv("http_proxy", f"http://{other.host}")
        monkeypatch.setenv("ALL_PROXY", f"http://{other.host}")
        assert load().predict(studies()).texts["generated"][0]
        assert other.bodies == []


@pytest.mark.parametrize("listed", [None, "", "localhost", "127.0.0.1:1", "127.0.0.10", "0.0.0.0,*"])
def test_a_host_that_is_not_listed_is_refused(server, tmp_path, monkeypatch, listed):
    folder = save_endpoint(tmp_path, server.host)
    monkeypatch.delenv("AUSCULT_ENDPOINT_HOSTS") if listed is None else monkeypatch.setenv(
        "AUSCULT_ENDPOINT_HOSTS", listed
    )
    error = refused(folder)
    assert error.column == "url" and "AUSCULT_ENDPOINT_HOSTS" in error.remedy


def test_a_host_may_be_listed_with_every_port(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", "other:80, 127.0.0.1")
    info = ENDPOINT.inspect(save_endpoint(tmp_path, server.host))
    assert info.outputs == ("text.generated",)


def test_a_host_that_is_taken_off_the_list_is_asked_no_more(load, server, monkeypatch):
    adapter = load()
    monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", "")
    assert "AUSCULT_ENDPOINT_HOSTS" in fails(adapter)
    assert server.bodies == []


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1/v1", "file:///etc/passwd", "ftp://127.0.0.1/", "http:///v1", "http://me:pw@127.0.0.1/v1",
     "http://127.0.0.1/v1?key=1", "http://127.0.0.1/v1#x", "http://127.0.0.1:99999/v1", "http://[::1/v1",
     "http://127.0.0.1/v1\r\nX: y", "http://127.0.0.1@evil/v1", "http://127.0.0.1:80\\@evil/"],
)  # fmt: skip
def test_addresses_that_are_no_plain_address_are_refused(server, tmp_path, monkeypatch, url):
    monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", "127.0.0.1")
    error = refused(save_endpoint(tmp_path, "x", url=url))
    assert error.column == "url"
    assert "me:pw" not in str(error)


@pytest.mark.parametrize(
    ("more", "column"),
    [
        ({"url": None}, "url"), ({"api_key": SECRET}, "api_key"), ({"prompt": "  "}, "prompt"), ({"image": 1}, "image"),
        ({"image": False, "text_inputs": []}, "image"), ({"text_inputs": ["indication"]}, "text_inputs"),
        ({"text_inputs": ["text.reference"]}, "text_inputs"), ({"text_inputs": ["text.a", "text.a"]}, "text_inputs"),
        ({"required": ["series.crp"]}, "required"), ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"concurrency": 1000}, "concurrency"), ({"retries": -1}, "retries"), ({"retries": True}, "retries"),
        ({"generation": {"max_new_tokens": 5}}, "generation.max_new_tokens"),
        ({"generation": {"temperature": 3}}, "generation.temperature"),
        ({"api_key_variable": "AUSCULT_SECRET_KEY"}, "api_key_variable"),
        ({"api_key_variable": "AUSCULT_ENDPOINT_KEYS"}, "api_key_variable"),
    ],
)  # fmt: skip
def test_wishes_that_cannot_be_met_are_refused(server, tmp_path, more, column):
    error = refused(save_endpoint(tmp_path, server.host, **more))
    assert (error.file, error.column) == ("auscult.json", column)
    assert SECRET not in str(error)


def test_any_other_file_in_the_folder_is_refused(server, tmp_path):
    save_endpoint(tmp_path, server.host)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert refused(tmp_path).file == "model.safetensors"


def test_the_key_comes_from_the_environment_and_stays_secret(load, server, monkeypatch, caplog):
    monkeypatch.setenv("AUSCULT_ENDPOINT_KEY_LAB", SECRET)
    adapter = load(api_key_variable="AUSCULT_ENDPOINT_KEY_LAB")
    caplog.set_level(logging.DEBUG)
    server.then.extend([well, lambda handler, body: send(handler, {"error": SECRET}, status=401)])
    adapter.predict(studies())
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    said = fails(adapter) + caplog.text + json.dumps(adapter.info.to_dict()) + repr(adapter.client)
    assert SECRET not in said


@pytest.mark.parametrize("key", ["", "two words", "line\r\nX-Evil: 1", "ключ"])
def test_a_key_that_is_none_is_refused_without_being_told(load, monkeypatch, key):
    monkeypatch.setenv("AUSCULT_ENDPOINT_KEY", key)
    with pytest.raises(AdapterError, match="AUSCULT_ENDPOINT_KEY") as caught:
        load(api_key_variable="AUSCULT_ENDPOINT_KEY")
    assert not key or key not in str(caught.value)
