"""What every adapter promises, whichever modalities a study has."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import AuscultError
from models_registry.adapters.base import ADAPTERS, Capability, InferenceSettings
from models_registry.cohorts.schema import StudyBatch
from tests.adapters.conftest import matrix, reordered, without


@pytest.fixture(scope="module")
def recorded(batch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    table = pa.table({"study_id": list(batch.study_ids), "score.effusion": rng.random(len(batch))})
    pq.write_table(table, folder / "predictions.parquet")
    return ADAPTERS.get("recorded").load(folder, settings=InferenceSettings())


@pytest.fixture(params=["fusion", "recorded"])
def adapter(request):
    return request.getfixturevalue(request.param)


MISSING = [set(), {"image"}, {"text.indication"}, {"series.crp"}, {"sex", "age", "view"}]


@pytest.mark.parametrize("missing", MISSING, ids=lambda names: "+".join(sorted(names)) or "nothing")
def test_predictions_have_the_batch_s_shape_and_range(adapter, batch, missing):
    found = adapter.predict(without(batch, missing))
    assert found.study_ids == batch.study_ids
    assert set(found.scores) == {name[6:] for name in adapter.info.outputs if name.startswith("score.")}
    assert set(found.decisions) == {name[5:] for name in adapter.info.outputs if name.startswith("pred.")}
    for values in found.scores.values():
        assert values.shape == (len(batch),)
        assert values.dtype == np.float64
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    for values in found.decisions.values():
        assert values.dtype == np.int8
        assert set(values.tolist()) <= {-1, 0, 1}


def test_a_study_s_prediction_does_not_depend_on_its_neighbours(adapter, batch):
    rows = np.random.default_rng(3).permutation(len(batch)).tolist()
    whole = matrix(adapter.predict(batch))
    assert np.abs(matrix(adapter.predict(reordered(batch, rows))) - whole[rows]).max() < 1e-5
    alone = matrix(adapter.predict(reordered(batch, [5])))
    assert np.abs(alone[0] - whole[5]).max() < 1e-5


def test_equal_batches_give_equal_bits(adapter, batch):
    assert matrix(adapter.predict(batch)).tobytes() == matrix(adapter.predict(batch)).tobytes()


def test_a_study_with_nothing_but_an_id_does_not_stop_the_batch(adapter):
    found = adapter.predict(StudyBatch(study_ids=("nobody",), patient_ids=("nobody",), images=[None]))
    assert all(len(values) == 1 for values in found.scores.values())


def test_info_can_be_written_as_json_and_says_what_was_run(adapter):
    body = adapter.info.to_dict()
    assert body["labels"] == list(adapter.info.labels)
    assert Capability.CLASSIFY in adapter.info.capabilities
    assert set(adapter.info.required) <= set(adapter.info.modalities)


def test_an_unknown_adapter_is_refused_with_the_known_ones():
    with pytest.raises(AuscultError, match="fusion") as caught:
        ADAPTERS.get("fusoin")
    assert "recorded" in caught.value.remedy
