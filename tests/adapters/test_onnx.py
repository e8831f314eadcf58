"""ONNX classifiers: run as torch runs the same weights, and refused where a file reaches out of its folder."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from core.errors import AdapterError, EnvironmentProblemError
from models_registry.adapters.base import ADAPTERS, InferenceSettings
from tests.adapters.models_g3 import expected, save_onnx, save_wishes, small_net, studies

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
helper = pytest.importorskip("onnx.helper", reason="the extra onnx is not installed")
ONNX = ADAPTERS.get("onnx")


def refused(folder) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        ONNX.inspect(folder)
    assert caught.value.remedy
    return caught.value


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture
def graph_folder(net, tmp_path) -> Path:
    save_onnx(net, save_wishes(tmp_path) / "model.onnx")
    return tmp_path


def test_a_fixed_number_of_studies_is_filled_up(net, tmp_path):
    save_onnx(net, save_wishes(tmp_path) / "model.onnx", studies=4)
    batch = studies(6)
    found = ONNX.load(tmp_path, settings=InferenceSettings()).predict(batch)
    np.testing.assert_allclose(found.scores["effusion"], expected(net, batch)[:, 0], atol=1e-6)


def test_another_precision_is_refused(graph_folder):
    with pytest.raises(AdapterError, match="bfloat16"):
        ONNX.load(graph_folder, settings=InferenceSettings(precision="bfloat16"))


@pytest.mark.parametrize("more", [{"labels": ["effusion"]}, {"input": {"size": 25, "channels": 1}}])
def test_wishes_that_do_not_fit_are_refused(graph_folder, more):
    assert refused(save_wishes(graph_folder, **more)).file == "auscult.json"


def test_external_data_beside_the_model_is_read(net, tmp_path):
    outside = {"save_as_external_data": True, "location": "model.onnx.data", "size_threshold": 0}
    save_onnx(net, save_wishes(tmp_path) / "model.onnx", **outside)
    batch = studies(3)
    found = ONNX.load(tmp_path, settings=InferenceSettings()).predict(batch)
    np.testing.assert_allclose(found.scores["effusion"], expected(net, batch)[:, 0], atol=1e-6)
    data = tmp_path / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert refused(tmp_path).file == "model.onnx.data"


def relocate(folder: Path, location: str) -> None:
    import onnx

    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "where", ["../secret.data", "/etc/passwd", "a/../../secret.data", "", "..\\secret.data", "link.data"]
)
def test_external_data_out_of_the_folder_is_refused(graph_folder, where):
    (graph_folder / "link.data").symlink_to("/etc/passwd")
    relocate(graph_folder, where)
    assert "out of the model's folder" in refused(graph_folder).message


def test_external_data_that_is_not_there_is_refused(graph_folder):
    relocate(graph_folder, "weights.data")
    assert refused(graph_folder).file == "weights.data"


def test_files_that_the_graph_does_not_name_are_refused(graph_folder):
    (graph_folder / "custom_ops.so").write_bytes(b"\x7fELF")
    assert refused(graph_folder).file == "custom_ops.so"


@pytest.mark.parametrize(
    ("kind", "domain", "said"),
    [("EPContext", "com.microsoft", "domain com.microsoft"), ("Evil", "vendor.ops", "vendor.ops"),
     ("RandomNormalLike", "", "random"), ("Nonsense", "", "Nonsense")],
)  # fmt: skip
def test_nodes_that_are_not_standard_are_refused(net, tmp_path, kind, domain, said):
    node = helper.make_node(kind, ["y"], ["z"], domain=domain)
    save_onnx(net, save_wishes(tmp_path) / "model.onnx", nodes=[node])
    assert said in refused(tmp_path).message


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x0a", pickle.dumps([1.0])])
def test_a_file_that_is_no_onnx_model_is_refused(graph_folder, content):
    (graph_folder / "model.onnx").write_bytes(content)
    assert refused(graph_folder).file == "model.onnx"


def test_without_the_extra_the_remedy_is_told(graph_folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(EnvironmentProblemError, match=r"auscult\[onnx\]"):
        ONNX.inspect(graph_folder)
