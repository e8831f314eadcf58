"""Tables by SDV alone: rates are kept, and what is rare is left out; persistence is not, which the other part keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.keeping import studies_digest
from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.settings import GeneratorSettings, Privacy
from tests.synthetic.tables_scene import FINDINGS, SECRET, indicators, owners, share, studies_of


@pytest.fixture(scope="module")
def fitted() -> Any:
    return PARTS.get("tables:sdv").fit(studies_of(600), Learning(settings=GeneratorSettings(seed=1)))


def test_rates_are_kept_and_plans_are_whole(fitted: Any) -> None:
    real, made = studies_of(600), fitted.sample(Wish(patients=3000), seed=2)
    one, two = indicators(real), indicators(made)
    for name in one:
        (wanted, error), (seen, own) = share(real, one[name]), share(made, two[name])
        assert abs(wanted - seen) <= 3 * np.hypot(error, own) + 0.03, name
    for place, name in enumerate(FINDINGS):
        assert (made.labels[name] == made.plans.present[:, place]).all()
        assert (made.plans.size[made.plans.present[:, place] != 1, place] == -1).all()
    assert SECRET not in made.attributes["ward"].tolist() and "record" not in made.attributes
    assert (made.labels["ghost"] == -1).all() and (
        np.diff(made.times.astype(np.int64))[made.visits()[1:] > 0] > 0
    ).all()


def test_wishes_are_met_by_trying_and_files_give_the_same(fitted: Any, tmp_path: Path) -> None:
    wish = Wish(patients=100, attributes={"sex": "F"}, least={"age": 70}, findings={"effusion": "present"})
    fitted.save(tmp_path)
    made = PARTS.get("tables:sdv").load(tmp_path).sample(wish, seed=3)
    assert studies_digest(made) == studies_digest(fitted.sample(wish, seed=3))
    assert set(made.attributes["sex"].tolist()) == {"F"} and min(made.attributes["age"].tolist()) >= 70
    assert len(made.patients) == 100 and (np.bincount(owners(made), weights=made.plans.present[:, 0]) > 0).all()
    with pytest.raises(AuscultError, match="never learnt to be"):
        fitted.sample(Wish(patients=1, attributes={"sex": "X"}), seed=1)
    private = GeneratorSettings(seed=1, privacy=Privacy(epsilon=1, delta=1e-6))
    with pytest.raises(AuscultError, match="differential privacy"):
        PARTS.get("tables:sdv").fit(studies_of(250), Learning(settings=private))
