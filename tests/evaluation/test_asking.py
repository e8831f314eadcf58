"""What a model is given when it is asked: against one study at a time, changed by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.engine import Protocol
from evaluation.engine.asking import Asking, CohortTruth, Utterances
from evaluation.engine.planning import Plan, count_cohort, plan_share
from evaluation.engine.sketch import audited
from evaluation.execution import utterances as codec
from evaluation.execution.asking import ask_share
from evaluation.execution.evidence_asking import asking_of
from evaluation.execution.tables import nothing, share_table
from models_registry.adapters.base import Capability, Draw, Posed, Predictions, Said
from models_registry.cohorts import CohortReader
from models_registry.cohorts.schema import StudyBatch
from tests.evaluation.asked import READS, Parrot, cohort, rules, told

DECLARED: dict[str, Any] = {"capabilities": ["answer", "generate"], "modalities": list(READS)}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> CohortReader:
    return cohort(tmp_path_factory.mktemp("asked"), missing={"image": 0.2, "text.indication": 0.2, "series.crp": 0.3})


@pytest.fixture(scope="module")
def truth(reader: CohortReader) -> CohortTruth:
    return count_cohort(rules(), reader)


@pytest.fixture(scope="module")
def plan(reader: CohortReader, truth: CohortTruth) -> Plan:
    return plan_share(rules(), reader, reader.shards[0], truth, declared=DECLARED)


@pytest.fixture(scope="module")
def whole(reader: CohortReader) -> StudyBatch:
    return next(reader.batches(0, batch_size=10_000))


def ask(reader: CohortReader, plan: Plan, size: int = 7, model: Any = None, **more: Any) -> Utterances:
    return ask_share(model or Parrot(), reader, reader.shards[0], plan, batch_size=size, **more)


def by_hand(whole: StudyBatch, plan: Plan, row: int) -> StudyBatch:
    """The study of a row of the plan, alone, as the condition leaves it. Noise is not made again here."""
    asked, study = plan.asked, int(plan.asked.study[row])
    batch, condition = whole.rows(study, study + 1), asked.condition[row]
    images, indication, crp = list(batch.images), list(batch.texts["indication"]), list(batch.series["crp"])
    if condition == "blank" and images[0] is not None:
        images = [np.zeros(images[0].shape, np.uint8)]
    if condition == "swapped":
        images = [whole.images[int(asked.partner[row])]]
    if condition == "dropped:text.indication":
        indication = [None]
    if condition == "dropped:series.crp":
        crp = [None]
    return replace(
        batch,
        images=images,
        texts=batch.texts | {"indication": indication},
        series=batch.series | {"crp": crp},
    )


def test_every_row_is_what_one_study_changed_by_hand_gives(reader: CohortReader, plan: Plan, whole: StudyBatch) -> None:
    said = ask(reader, plan)
    assert len(said) == len(plan.asked) > 300
    seen = Counter(plan.asked.condition.tolist())
    assert set(seen) == {
        "plain", "sampled", "blank", "noise", "swapped", "paraphrase", "dropped:text.indication", "dropped:series.crp",
    }  # fmt: skip
    for row in np.flatnonzero(plan.asked.condition != "noise"):
        draw = Draw(temperature=0.7, turn=int(plan.asked.turn[row])) if plan.asked.condition[row] == "sampled" else None
        expected = told(by_hand(whole, plan, row), 0, plan.asked.question[row], draw)
        assert said.text[row] == expected, (row, plan.asked.condition[row])
        assert said.truncated[row] == (len(expected) % 2 == 0)


def test_noise_is_an_image_of_the_same_shape_and_nothing_else_changes(
    reader: CohortReader, plan: Plan, whole: StudyBatch
) -> None:
    seen: list[StudyBatch] = []

    class Watching(Parrot):
        def say(self, batch: StudyBatch, questions: Any, *, draw: Draw | None = None) -> Said:
            seen.append(batch)
            return super().say(batch, questions, draw=draw)

    noisy = plan.asked.rows(plan.asked.condition == "noise")
    only = replace(plan, asked=noisy, modality=np.full(len(noisy), "image", dtype=object))
    texts = ask(reader, only, model=Watching()).text
    assert ask(reader, only, size=3).text.tolist() == texts.tolist(), "noise is a study's own"
    place = {study: row for row, study in enumerate(whole.study_ids)}
    pixels = []
    for batch in seen:
        for row, study in enumerate(batch.study_ids):
            image, real = batch.images[row], whole.images[place[study]]
            assert (image is None) == (real is None)
            assert batch.texts["indication"][row] == whole.texts["indication"][place[study]]
            if image is not None and real is not None:
                assert (image.shape, image.dtype) == (real.shape, real.dtype)
                assert (image != real).mean() > 0.9
                pixels.append(image.ravel())
    values = np.concatenate(pixels)
    assert abs(values.mean() - 127.5) < 1 and values.min() == 0 and values.max() == 255
    assert len({image.tobytes() for image in pixels}) > 5, "each study has noise of its own"


@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_size_of_a_batch_changes_no_answer_and_bounds_what_is_held(
    reader: CohortReader, plan: Plan, size: int
) -> None:
    model = Parrot()
    told_done: list[int] = []
    said = ask(reader, plan, size=size, model=model, after_batch=told_done.append)
    assert said.text.tolist() == ask(reader, plan).text.tolist()
    assert max(model.sizes) <= size
    assert told_done == sorted(told_done) and told_done[-1] == len(plan.asked)


def test_what_gives_the_model_the_same_is_asked_once(reader: CohortReader, plan: Plan) -> None:
    model = Parrot()
    ask(reader, plan, model=model)
    asked = plan.asked
    rows = zip(asked.study, asked.question, asked.condition, asked.turn, asked.partner, strict=True)
    different = {
        (study, question, "plain" if how == "paraphrase" else how, turn if how == "sampled" else 0, partner)
        for study, question, how, turn, partner in rows
    }
    assert sum(model.sizes) == len(different) < len(asked)


def test_partners_are_other_patients(reader: CohortReader, plan: Plan, whole: StudyBatch) -> None:
    swapped = plan.asked.rows(plan.asked.condition == "swapped")
    assert len(swapped) and (swapped.partner >= 0).all()
    own = np.array(whole.patient_ids, dtype=object)
    assert not (own[swapped.study] == own[swapped.partner]).any()


def test_the_plan_is_of_audited_studies_and_its_rows_survive_the_choice(tmp_path: Path, reader: CohortReader) -> None:
    """A patient of another split is neither asked about nor a partner, and rows follow their studies."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from models_registry.cohorts import convert_cohort, open_cohort

    table = reader.table(0, [*(name for name in reader.manifest.columns)])
    split = ["test" if hash_of(patient) else "train" for patient in table["patient_id"].to_pylist()]
    pq.write_table(table.append_column("split", pa.array(split)), tmp_path / "split.parquet")
    convert_cohort(tmp_path / "split.parquet", mapping=None, destination=tmp_path / "shards")
    other, wanted = open_cohort(tmp_path / "shards"), rules(splits={"audited": ["test"]})
    part = other.shards[0]
    sums = count_cohort(wanted, other)
    assert sums.n_studies == split.count("test") < len(split)
    found = plan_share(wanted, other, part, sums, declared=DECLARED)
    said = ask_share(Parrot(), other, part, found, batch_size=9)
    table_of = share_table(wanted, other, part, nothing_said(other), said)
    judged = audited(wanted, table_of)
    assert judged.utterances is not None and len(judged.utterances) == len(said) > 0
    for row, text in enumerate(judged.utterances.text):
        assert repr(judged.study_ids[judged.utterances.asked.study[row]]) in text
    before, after = said.asked, judged.utterances.asked
    chosen = before.partner >= 0
    assert (table_of.study_ids[before.partner[chosen]] == judged.study_ids[after.partner[chosen]]).all()
    assert (after.partner[~chosen] == -1).all()


def hash_of(patient: str) -> bool:
    return sum(patient.encode()) % 2 == 0


def nothing_said(reader: CohortReader) -> Predictions:
    empty = nothing(reader, reader.shards[0])
    return replace(empty, texts={"generated": np.full(len(empty.study_ids), "No effusion.", dtype=object)})


def test_a_model_that_cannot_is_not_asked_and_it_is_said_why(reader: CohortReader, truth: CohortTruth) -> None:
    def planned(wanted: Protocol, *able: str, reads: tuple[str, ...] = READS) -> Plan:
        declared = {"capabilities": list(able), "modalities": list(reads)}
        return plan_share(wanted, reader, reader.shards[0], truth, declared=declared)

    silent = planned(rules(), "generate")
    assert set(silent.why_not) == {"probing", "perturbation"} and set(silent.asked.condition) == {"sampled"}
    mute = planned(rules(), "answer")
    assert set(mute.why_not) == {"sampling"} and "sampled" not in set(mute.asked.condition)
    assert not len(planned(rules(), "classify").asked)
    blind = planned(rules(), "answer", "generate", reads=("text.indication",))
    assert set(blind.why_not) == {"wrong_image", "blank", "noise", "swapped", "dropped:series.crp"}
    assert set(blind.asked.condition) == {"plain", "sampled", "paraphrase", "dropped:text.indication"}
    assert all(blind.why_not.values())


def test_an_adapter_that_cannot_speak_is_not_asked(reader: CohortReader, plan: Plan) -> None:
    class Silent:
        info = Parrot().info

    said = ask(reader, plan, model=Silent())
    assert len(said) == 0 and set(said.why_not) == {"probing", "sampling", "perturbation"}


def test_a_log_answers_by_study_and_tells_what_it_lacks(reader: CohortReader, plan: Plan, whole: StudyBatch) -> None:
    asked: list[Posed] = []

    class Log:
        info = replace(Parrot().info, modalities=())

        def recall(self, posed: list[Posed]) -> Said:
            asked.extend(posed)
            texts = np.array([None if item.condition in ("noise", "sampled") else item.study_id for item in posed])
            return Said(text=texts.astype(object), truncated=np.zeros(len(posed), dtype=np.bool_))

        def holds(self, condition: str, *, report: bool) -> bool:
            return not report and condition not in ("noise", "sampled")

    said = ask(reader, plan, model=Log())
    assert set(said.why_not) == {"noise", "sampling"}
    assert not set(said.asked.condition) & {"noise", "sampled"}
    assert [whole.study_ids[study] for study in said.asked.study] == said.text.tolist()
    swapped = [item for item in asked if item.condition == "swapped"]
    assert all(item.partner in whole.study_ids and item.modality == "image" for item in swapped)


def test_what_a_log_lacks_for_one_share_alone_was_asked_and_not_answered(reader: CohortReader, plan: Plan) -> None:
    class Log:
        info = replace(Parrot().info, modalities=())

        def recall(self, posed: list[Posed]) -> Said:
            texts = np.array([None if item.condition == "noise" else "Yes." for item in posed], dtype=object)
            return Said(text=texts, truncated=np.zeros(len(posed), dtype=np.bool_))

        def holds(self, condition: str, *, report: bool) -> bool:
            return True

    said = ask(reader, plan, model=Log())
    assert said.why_not == plan.why_not and len(said) == len(plan.asked)
    assert set(said.text[said.asked.condition == "noise"]) == {None}, "else the figures change with the shares"


def test_a_batch_that_does_not_fit_is_halved(reader: CohortReader, plan: Plan) -> None:
    class Small(Parrot):
        def say(self, batch: StudyBatch, questions: Any, *, draw: Draw | None = None) -> Said:
            if len(batch) > 3:
                raise MemoryError
            return super().say(batch, questions, draw=draw)

    assert ask(reader, plan, model=Small()).text.tolist() == ask(reader, plan).text.tolist()


def test_what_is_raised_after_a_batch_ends_the_asking(reader: CohortReader, plan: Plan) -> None:
    model = Parrot()

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(reader, plan, model=model, after_batch=stop)
    assert len(model.sizes) == 1


def test_few_texts_that_are_cut_off_or_missing_are_not_counted_in_the_evidence() -> None:
    shares = [{"told": {"judges": {}, "rows": {"present": 6}, "texts": 6, "unanswered": 0, "truncated": 6}}] * 2
    told = asking_of(rules().to_dict(), shares[:1])["asking"]
    assert (told["unanswered"], told["truncated"]) == (0, "<11")
    assert asking_of(rules().to_dict(), shares)["asking"]["truncated"] == 12


def test_utterances_survive_the_store(reader: CohortReader, plan: Plan) -> None:
    said = ask(reader, plan)
    said.text[3] = None
    again = codec.from_bytes(codec.to_bytes(said))
    assert codec.to_bytes(again) == codec.to_bytes(said)
    assert again.text.tolist() == said.text.tolist() and again.truncated.tolist() == said.truncated.tolist()
    for name, values in vars(said.asked).items():
        other = getattr(again.asked, name)
        assert other.dtype == values.dtype and other.tolist() == values.tolist(), name
    none = Utterances.none({"probing": "the model answers no questions"})
    assert codec.from_bytes(codec.to_bytes(none)).why_not == none.why_not


def test_a_plan_is_named_by_everything_that_a_model_is_given(
    reader: CohortReader, truth: CohortTruth, plan: Plan
) -> None:
    def digest(**changes: Any) -> str:
        return plan_share(rules(**changes), reader, reader.shards[0], truth, declared=DECLARED).digest

    assert digest() == plan.digest
    assert digest(criteria=[{"id": "x", "metric": "chair_s", "direction": "at_most", "margin": 0.2}]) == plan.digest
    sampling = {"of": "reports", "samples": 3, "temperature": 0.7, "studies": 8}
    assert digest(sampling=sampling | {"target_risk": 0.3}) == plan.digest, "how it is judged changes no question"
    assert digest(sampling=sampling | {"temperature": 0.8}) != plan.digest
    assert digest(perturbation={"of": "answers", "studies": 12}) != plan.digest
    assert digest(seed=9) != plan.digest


def test_a_model_that_embeds_alone_is_asked_nothing(reader: CohortReader, truth: CohortTruth) -> None:
    declared = {"capabilities": [Capability.EMBED.value], "modalities": []}
    found = plan_share(rules(), reader, reader.shards[0], truth, declared=declared)
    assert len(found.asked) == 0 and isinstance(found.asked, Asking)
    assert set(found.why_not) == {"probing", "sampling", "perturbation"}


def test_a_share_tells_what_its_studies_hold(reader: CohortReader, whole: StudyBatch) -> None:
    number = {"analyte": "crp", "series": "crp", "unit": "mg/L"}
    wanted = rules(reports={"findings": ["effusion"], "prior": "text.indication", "numbers": [number]})
    facts = share_table(wanted, reader, reader.shards[0], nothing_said(reader)).facts
    assert facts is not None
    series = {f"series.{name}" for name in whole.series}
    assert set(facts.given) == {"image", "text.indication", *series}
    assert facts.given["image"].tolist() == [image is not None for image in whole.images]
    for name, values in whole.series.items():
        assert facts.given[f"series.{name}"].tolist() == [points is not None for points in values]
    assert facts.prior.tolist() == [text is not None for text in whole.texts["indication"]]
    for one, other in zip(facts.series["crp"], whole.series["crp"], strict=True):
        assert (one is None) == (other is None) and (one is None or np.array_equal(one, other))
    assert not share_table(rules(), reader, reader.shards[0], nothing_said(reader)).facts.prior.any()  # type: ignore[union-attr]


def test_further_judges_read_the_reports_of_audited_studies(
    reader: CohortReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def judged(keys: Any, references: Any, generated: Any, *, device: str, told: Any) -> dict[str, Any]:
        seen.append((tuple(keys), references, generated))
        told(len(references))
        return {"nli": np.full(len(references), 0.5)}

    monkeypatch.setattr("evaluation.engine.judges.judge_share", judged)
    done: list[int] = []
    part = reader.shards[0]
    table = share_table(rules(judges=["nli"]), reader, part, nothing_said(reader), told=done.append)
    assert table.judged_by["nli"].tolist() == [0.5] * part.n_studies and done == [part.n_studies]
    ((keys, references, generated),) = seen
    assert keys == ("nli",) and set(generated) == {"No effusion."} and references == table.texts["reference"].tolist()
