"""A whole generator with differential privacy: what it spends, what it tells, what it makes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.adapter import FACTORY
from synthetic.generators.consistency import report_faults
from synthetic.generators.keeping import studies_digest
from synthetic.generators.kinds import private_report, private_series
from synthetic.generators.linked import Generator, load_generator, split_cohort, train_generator
from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.private.accounting import Mechanism, Need, composed
from synthetic.generators.private.noise import Secret
from synthetic.generators.private.training import check_delta, split_private
from synthetic.generators.private.waves import Waves
from synthetic.generators.settings import GeneratorSettings, Privacy
from synthetic.generators.studies import LinkedStudies
from tests.synthetic.fake_parts import NAMES
from tests.synthetic.private_scene import EDGE, KEY, domain_of, settings_of, ward, without

PATIENTS = 420
TABLES = {"parts": {"tables": "private"}}


@pytest.fixture(scope="module")
def real() -> LinkedStudies:
    return ward(PATIENTS)


@pytest.fixture(scope="module")
def trained(real: LinkedStudies, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder = tmp_path_factory.mktemp("private")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(private_report, "LESSONS", 12_000)
        settings = settings_of(20.0, canaries=30)
        return train_generator(real, folder / "generator", settings, resume=folder / "work", secret=KEY)


def learnt(studies: LinkedStudies, folder: Path, settings: GeneratorSettings, **others: Any) -> Generator:
    return train_generator(studies, folder / "generator", settings, resume=folder / "work", **others)


def test_all_parts_together_spend_no_more_than_was_asked(trained: Generator) -> None:
    body = trained.body["privacy"]
    assert body["asked"] == {"epsilon": 20.0, "delta": 1e-4} and body["unit"] == "one patient with all studies"
    mechanisms = {
        role: Mechanism(noise=item["noise"], rate=item["rate"], steps=item["steps"])
        for role, item in body["mechanisms"].items()
    }
    assert set(mechanisms) == set(trained.parts) == {"tables", "series", "image", "report"}
    assert body["spent"]["epsilon"] == composed(mechanisms, 1e-4) <= 20 and body["spent"]["delta"] == 1e-4
    assert 19.9 < body["spent"]["epsilon"] < sum(item.epsilon(1e-4) for item in mechanisms.values())
    for role, part in trained.parts.items():
        assert part.facts["privacy"]["noise"] == mechanisms[role].noise
    assert trained.body["left_out"]["critic"].startswith("no critic learns")


def test_the_folder_tells_no_exact_count_no_digest_and_no_curve(
    trained: Generator, real: LinkedStudies, tmp_path: Path
) -> None:
    told = json.dumps(trained.body)
    learning = split_private(real, seed=5)[0]
    for secret in (len(learning.patients), len(real.patients), len(real), len(learning)):
        assert f" {secret}," not in told and f" {secret}}}" not in told
    assert trained.body["learnt_from"] is None and studies_digest(real) not in told
    assert trained.body["patients"]["learning"] == pytest.approx(len(learning.patients), abs=20)
    assert trained.body["studies"] == {} and trained.body["bars"] == {}
    assert "Rare Ones" not in told and "REAL-" not in told
    curves: list[Any] = []
    messages: list[str] = []
    learnt(
        real, tmp_path, settings_of(**TABLES), secret=KEY, log=lambda *point: curves.append(point),
        tell=lambda share, message: messages.append(message),
    )  # fmt: skip
    assert not curves and not (tmp_path / "work" / "curves.jsonl").exists()
    assert FACTORY.inspect(tmp_path / "generator").details["patients"].keys() == {"learning"}


def test_it_makes_linked_patients_of_all_modalities(trained: Generator, tmp_path: Path) -> None:
    made = trained.sample(Wish(patients=120), seed=3)
    studies = made.studies
    assert studies.images is not None and studies.images.shape[1:] == (EDGE, EDGE)
    values = np.concatenate([item[:, 1] for item in studies.series["crp"] if item is not None])
    hours = [item[:, 0] for item in studies.series["crp"] if item is not None]
    assert values.min() >= 0 and values.max() <= 300 and all((np.diff(item) > 0).all() for item in hours)
    assert min(item.min() for item in hours) >= -72 and max(item.max() for item in hours) <= 0
    texts = studies.texts["reference"].tolist()
    assert report_faults(texts, studies.plans).any.mean() < 0.15, "public sentences teach it to tell its plan"
    assert sum("effusion" in text for text in texts if text) > 30
    assert (made.flags["report_unresolved"].mean() < 0.15) and not made.flags["image_unresolved"].any()
    again = trained.sample(Wish(patients=120), seed=3).studies
    assert studies_digest(again) == studies_digest(studies), "what is made of a generator follows from a seed"
    asked = trained.sample(Wish(patients=20, attributes={"sex": "F"}, findings={"effusion": "left"}), seed=1).studies
    assert set(asked.attributes["sex"]) == {"F"} and len(asked.patients) == 20


def test_it_explains_studies_and_its_canaries_are_public_words(trained: Generator, real: LinkedStudies) -> None:
    losses = trained.losses(real.rows(np.arange(60)), seed=1)
    assert set(losses) == {"series", "image", "report"}
    assert np.isfinite(losses["image"]).all() and np.isnan(losses["report"]).any()
    told = trained.canary_losses(real, list(trained.canaries), seed=1)
    assert len(trained.canaries) == 30 and told is not None and np.isfinite(told).all()


def test_equal_settings_make_other_generators_unless_a_test_names_the_secret(
    real: LinkedStudies, tmp_path: Path
) -> None:
    settings = settings_of(**TABLES)
    made = [
        learnt(real, tmp_path / str(place), settings, secret=secret).digest
        for place, secret in enumerate([KEY, KEY, None, None, Secret(b"another")])
    ]
    assert made[0] == made[1] and len(set(made)) == 4
    # The secret is nowhere: neither in the generator nor in what is kept for an interruption.
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"known to tests" not in file.read_bytes()


def test_what_was_finished_is_not_paid_for_again(
    real: LinkedStudies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(parts={"tables": "private", "series": "private"})

    def stop(share: float, message: str) -> None:
        if message.startswith("series: series"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learnt(real, tmp_path, settings, tell=stop)
    kept = (tmp_path / "work" / "parts" / "tables" / "tables.safetensors").read_bytes()
    made = learnt(real, tmp_path, settings)
    assert (tmp_path / "generator" / "parts" / "tables" / "tables.safetensors").read_bytes() == kept
    assert made.body["privacy"]["spent"]["epsilon"] <= 8
    loaded = load_generator(tmp_path / "generator")
    assert loaded.digest == made.digest
    assert studies_digest(loaded.sample(Wish(patients=9), seed=1).studies) == studies_digest(
        made.sample(Wish(patients=9), seed=1).studies
    )


def test_parts_that_cannot_hold_it_refuse_and_those_of_others_that_do_not_ask_are_refused(
    real: LinkedStudies, tmp_path: Path
) -> None:
    for parts, name in (
        ({"tables": "copula"}, "tables:copula"), ({"tables": "private", "critic": "cnn"}, "critic:cnn"),
        ({"tables": NAMES["tables"]}, "tables:fake"),
    ):  # fmt: skip
        with pytest.raises(AuscultError, match=f"{name} cannot learn with differential privacy") as caught:
            learnt(real, tmp_path, settings_of(parts=parts))
        assert caught.value.column == "privacy"
    with pytest.raises(AuscultError, match="differential privacy alone"):
        learnt(real, tmp_path, GeneratorSettings(seed=1, image_size=EDGE, **TABLES))


def test_a_part_that_spends_more_than_it_was_allowed_is_found(
    real: LinkedStudies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = PARTS.get("series:private")
    fit = type(part).fit

    def more(self: Any, studies: Any, learning: Learning, **others: Any) -> Any:
        assert learning.allowed is not None
        twice = replace(learning.allowed, steps=2 * learning.allowed.steps)
        return fit(self, studies, replace(learning, allowed=twice), **others)

    monkeypatch.setattr(type(part), "fit", more)
    with pytest.raises(ArithmeticError, match="the part series spent"):
        learnt(real, tmp_path, settings_of(parts={"tables": "private", "series": "private"}))
    assert not (tmp_path / "generator").exists()


def test_delta_and_the_domain_are_asked_for_by_name(real: LinkedStudies, tmp_path: Path) -> None:
    with pytest.raises(AuscultError, match="not below one over the number of patients") as caught:
        learnt(real, tmp_path, settings_of(delta=1 / PATIENTS, **TABLES))
    assert caught.value.column == "privacy.delta"
    check_delta(Privacy(epsilon=1, delta=0.99 / PATIENTS), PATIENTS)
    with pytest.raises(AuscultError, match="needs a domain: bounds, bins and categories") as caught:
        learnt(real, tmp_path, settings_of(domain=None))
    assert caught.value.column == "privacy.domain" and '"attributes"' in (caught.value.remedy or "")
    with pytest.raises(AuscultError, match="domain names no column of the cohort"):
        learnt(real, tmp_path, settings_of(domain=domain_of(findings=[], attributes={"x": ["y"]}, pairs=[])))


def test_what_the_domain_does_not_name_is_left_out_whatever_the_cohort_holds(
    real: LinkedStudies, tmp_path: Path
) -> None:
    settings = settings_of(domain=domain_of(series={}, texts=[], image=False))
    body = learnt(real, tmp_path, settings).body
    assert set(body["parts"]) == {"tables"} and "domain" in body["left_out"]["series"]
    assert body["left_out"]["image"] == "the domain says that no images are learnt"
    # Columns without any content are learnt all the same: that they are empty is not public.
    blank = replace(
        real, series={"crp": [None] * len(real)}, texts={"reference": np.full(len(real), None, dtype=object)},
        has_image=np.zeros(len(real), dtype=np.bool_),
    )  # fmt: skip
    empty = learnt(blank, tmp_path / "blank", settings_of(effort=0.005))
    assert set(empty.body["parts"]) == {"tables", "series", "image", "report"}
    assert len(empty.sample(Wish(patients=5), seed=1).studies.patients) == 5


def test_on_which_side_a_patient_is_does_not_depend_on_others(real: LinkedStudies) -> None:
    settings = settings_of()
    learning, critic, held_out = split_cohort(real, settings)
    assert len(critic) == 0 and not set(learning.patients) & set(held_out.patients)
    assert len(held_out.patients) / PATIENTS == pytest.approx(0.15, abs=0.06)
    gone = learning.patients[0]
    fewer = split_cohort(without(real, gone), settings)
    assert set(fewer[0].patients) == set(learning.patients) - {gone} and fewer[2].patients == held_out.patients
    plain = GeneratorSettings(seed=5)
    shuffled = [set(split_cohort(studies, plain)[0].patients) for studies in (real, without(real, gone))]
    assert len(shuffled[0] ^ shuffled[1]) > 20, "the usual split would send many to another side"


def test_series_are_learnt_where_noise_is_small(real: LinkedStudies) -> None:
    """Not private at all (epsilon in the hundreds): the part learns what its data say, on public scales."""
    settings = settings_of(effort=0.5)
    tables = PARTS.get("tables:private").fit(
        real, Learning(settings=settings, allowed=Mechanism(noise=0.1), noise=KEY.of("t"))
    )
    learning = Learning(settings=settings, allowed=Need(rate=0.2, steps=200).with_noise(0.01), noise=KEY.of("s"))
    part = private_series.PrivateSeriesPart().fit(real, learning, tables=tables)
    wanted = replace(real, series={"crp": [None if item is None else np.full_like(item, np.nan)
                                           for item in real.series["crp"]]})  # fmt: skip
    made = part.sample(wanted, seed=2)["crp"]

    def level(series: Any, ill: int) -> float:
        rows = np.flatnonzero(real.labels["effusion"] == ill)
        return float(np.mean([np.log(series[row][:, 1] + 0.1).mean() for row in rows if series[row] is not None]))

    for ill in (0, 1):
        assert level(made, ill) == pytest.approx(level(real.series["crp"], ill), abs=0.45)


def test_images_are_learnt_where_noise_is_small(real: LinkedStudies) -> None:
    """Of no use as privacy: an effusion brightens its side, though blurred, and waves bring a picture nearly back."""
    settings = settings_of(effort=0.5)
    tables = PARTS.get("tables:private").fit(
        real, Learning(settings=settings, allowed=Mechanism(noise=0.1), noise=KEY.of("t"))
    )
    learning = Learning(settings=settings, allowed=Need(rate=0.2, steps=200).with_noise(0.01), noise=KEY.of("i"))
    part = PARTS.get("image:private").fit(real, learning, tables=tables)
    made = part.sample(real, seed=2)
    corner = made[:, EDGE // 2 :, EDGE // 2 :].mean(axis=(1, 2))
    left, none = real.plans.side[:, 0] == 0, real.plans.present[:, 0] == 0
    assert corner[left].mean() - corner[none].mean() > 40, "80 in real images"
    assert part.encode(made).shape == (len(made), 1, 8, 8) and np.abs(part.encode(made)).max() < 1.6
    assert real.images is not None
    waves = Waves(edge=EDGE, kept=8)
    back = waves.images(waves.numbers(real.images)).astype(float)
    smooth = real.images.reshape(len(back), 8, 4, 8, 4).mean(axis=(2, 4))
    assert np.abs(back.reshape(len(back), 8, 4, 8, 4).mean(axis=(2, 4)) - smooth).mean() < 4
    with pytest.raises(AuscultError, match="learnt from 32 x 32 pixels"):
        part.encode(np.zeros((1, 8, 8), dtype=np.uint8))
