"""What models say when they are asked for more than a report: questions, draws, texts that are cut off."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, Draw, InferenceSettings, Said, Speaks
from tests.adapters.conftest import reordered, without
from tests.adapters.generator_steps import KEYS, PROMPTED, edit, factory
from tests.adapters.models_g2 import (  # noqa: F401
    gemma,
    image_text_to_text,
    studies,
    text_generation,
    vision_encoder_decoder,
    writers,
)
from tests.adapters.models_g3 import chat_server, completion, save_endpoint, send, well

HOT = Draw(temperature=1.0, turn=0)


@pytest.fixture(scope="module")
def backbone(trained):
    """A reference backbone with its decoder."""
    return ADAPTERS.get("fusion").load(trained.backbone, settings=InferenceSettings(seed=4))


@pytest.fixture(params=[*KEYS, "backbone"])
def speaker(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def some(request, speaker, batch):
    """Studies that the speaker can read: those of its own cohort for the reference model."""
    return (
        reordered(batch, list(range(8))) if speaker.info.details["architecture"] == "AuscultFusionModel" else studies()
    )


def texts(said: Said) -> list[str | None]:
    assert said.text.dtype == object and said.truncated.dtype == np.bool_
    assert len(said.text) == len(said.truncated)
    return said.text.tolist()


def test_a_report_that_is_asked_for_is_the_one_that_is_predicted(speaker, some):
    assert isinstance(speaker, Speaks)
    found = speaker.predict(some)
    said = speaker.say(some, None)
    assert texts(said) == found.texts["generated"].tolist()
    assert said.truncated.tolist() == found.truncated["generated"].tolist()


def test_a_draw_depends_on_study_and_turn_alone(speaker, some):
    whole = texts(speaker.say(some, None, draw=HOT))
    assert texts(speaker.say(some, None, draw=HOT)) == whole
    assert whole != texts(speaker.say(some, None))
    assert whole != texts(speaker.say(some, None, draw=Draw(temperature=1.0, turn=1)))
    for row in range(len(some)):
        assert texts(speaker.say(reordered(some, [row]), None, draw=HOT)) == [whole[row]], row


def test_a_draw_without_heat_is_the_likeliest_text(speaker, some):
    assert texts(speaker.say(some, None, draw=Draw(temperature=1e-4, turn=3))) == texts(speaker.say(some, None))


@pytest.mark.parametrize("name", KEYS)
def test_a_text_is_cut_off_exactly_where_more_room_makes_it_longer(folder, name):
    """Noise is a study's own and is drawn word by word, so a text with more room begins with the shorter one."""
    home = folder(name)
    edit(home, generation={"max_new_tokens": 8})
    short = factory(name).load(home, settings=InferenceSettings(seed=1))
    edit(home, generation={"max_new_tokens": 30})
    long = factory(name).load(home, settings=InferenceSettings(seed=1))
    batch, cut, grew = studies(), [], []
    for turn in range(12):
        draw = Draw(temperature=1.0, turn=turn)
        one, other = short.say(batch, None, draw=draw), long.say(batch, None, draw=draw)
        for little, truncated, much in zip(one.text, one.truncated, other.text, strict=True):
            if little is None:
                assert not truncated
                continue
            # Eight bytes may end amid a letter, which is then spelt with a sign of replacement.
            assert truncated or little == much
            cut.append(bool(truncated))
            grew.append(bool(truncated) and len(much) > len(little))
    assert any(grew) and not all(cut), "both kinds are seen"


@pytest.mark.parametrize("name", KEYS)
def test_a_model_that_is_never_cut_off_is_told_from_one_that_always_is(folder, name):
    """With words that end at once there is nothing to cut; where the end is forbidden, there always is."""
    home = folder(name)
    edit(home, generation={"max_new_tokens": 6, "min_new_tokens": 6})
    said = factory(name).load(home, settings=InferenceSettings()).say(studies(), None)
    assert said.truncated.tolist() == [text is not None for text in said.text]


def test_the_reference_model_is_cut_off_where_its_report_has_no_end(backbone, batch):
    said = backbone.say(reordered(batch, list(range(8))), None)
    assert not said.truncated.any(), "a trained decoder ends its reports"
    length = backbone.model.decoder.length
    try:
        backbone.model.decoder.length = 3
        short = backbone.say(reordered(batch, list(range(8))), None)
    finally:
        backbone.model.decoder.length = length
    assert short.truncated.all()
    assert all(whole.startswith(part) for part, whole in zip(short.text, said.text, strict=True))


@pytest.mark.parametrize("name", PROMPTED)
def test_answers_are_said_with_their_questions(request, name):
    model, batch = request.getfixturevalue(name), studies()
    questions = [f"Is there an effusion? {row}" for row in range(len(batch))]
    assert texts(model.say(batch, questions)) == model.answer(batch, questions).tolist()
    assert texts(model.say(batch, questions)) != texts(model.say(batch, None))
    drawn = texts(model.say(batch, questions, draw=HOT))
    assert drawn != texts(model.say(batch, questions))
    assert drawn != texts(model.say(batch, questions, draw=Draw(temperature=1.0, turn=1)))
    with pytest.raises(AdapterError, match="one of them is empty"):
        model.say(batch, [" "] * len(batch))
    bare = without(batch, set(model.info.required))
    silent = model.say(bare, questions)
    assert texts(silent) == [None] * len(batch) and not silent.truncated.any()


def test_a_model_of_reports_refuses_a_question(vision_encoder_decoder, backbone, batch):  # noqa: F811
    for model, some in ((vision_encoder_decoder, studies()), (backbone, batch)):
        with pytest.raises(AdapterError, match="answers no questions") as caught:
            model.say(some, ["Is there an effusion?"] * len(some))
        assert caught.value.remedy


def test_what_embeds_alone_does_not_speak(fusion):
    assert not isinstance(fusion, Speaks)


@pytest.fixture
def endpoint(monkeypatch, tmp_path):
    with chat_server() as server:
        monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", server.host)
        generation = {"max_tokens": 64, "temperature": 0, "seed": 7}
        folder = save_endpoint(tmp_path, server.host, generation=generation)
        yield server, ADAPTERS.get("endpoint").load(folder, settings=InferenceSettings(seed=5))


def test_a_server_that_stops_at_its_limit_is_told(endpoint):
    server, model = endpoint
    cut = lambda handler, body: send(handler, completion("Half a", finish="length"))  # noqa: E731
    server.then = [cut]
    batch = reordered(studies(), [0])
    said = model.say(batch, None)
    assert (said.text.tolist(), said.truncated.tolist()) == (["Half a"], [True])
    server.then = [well, cut]
    assert not model.predict(batch).truncated["generated"][0]
    assert model.predict(batch).truncated["generated"][0]


def test_a_server_is_sent_temperature_and_a_seed_for_each_turn(endpoint):
    server, model = endpoint
    batch = reordered(studies(), [0])
    model.say(batch, ["Is there an effusion?"])
    for turn in (0, 1, 2):
        model.say(batch, ["Is there an effusion?"], draw=Draw(temperature=0.7, turn=turn))
    told = [(body["temperature"], body["seed"], body["max_tokens"]) for body in server.bodies]
    assert told == [(0, 7, 64), (0.7, 8, 64), (0.7, 9, 64), (0.7, 10, 64)]
