"""Exported classifiers: run as torch runs them, and refused where a file could do more than arithmetic."""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, Capability, InferenceSettings
from tests.adapters.models_g3 import (
    expected,
    export,
    save_onnx_classifier,
    save_torch_export,
    save_wishes,
    small_net,
    studies,
)

EXPORTED = ADAPTERS.get("torch_export")


def refused(folder) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        EXPORTED.inspect(folder)
    assert caught.value.remedy
    return caught.value


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture(scope="module")
def saved(net, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "model.pt2"
    export(net, path)
    return path.read_bytes()


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A good folder that a test may spoil."""
    (save_wishes(tmp_path) / "model.pt2").write_bytes(saved)
    return tmp_path


def edit(folder: Path, change, *, add=None, compress=zipfile.ZIP_STORED) -> None:
    """Write the archive again; ``change`` gets each member's name and bytes."""
    path = folder / "model.pt2"
    with zipfile.ZipFile(path) as old:
        members = [(item.filename, old.read(item)) for item in old.infolist()]
    root = members[0][0].partition("/")[0]
    with zipfile.ZipFile(path, "w", compress) as new:
        for name, data in members:
            changed = change(name.partition("/")[2], data)
            if changed is not None:
                new.writestr(name, changed)
        for name, data in (add or {}).items():
            new.writestr(f"{root}/{name}", data)


def edit_program(folder: Path, change) -> None:
    def one(name, data):
        if name != "models/model.json":
            return data
        body = json.loads(data)
        change(body)
        return json.dumps(body)

    edit(folder, one)


def same(name, data):
    return data


@pytest.fixture(scope="module", params=["torch_export", "onnx"])
def loaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (save_torch_export if request.param == "torch_export" else save_onnx_classifier)(folder)
    return ADAPTERS.get(request.param).load(folder, settings=InferenceSettings(batch_size=4))


def test_scores_are_those_of_the_model(loaded, net):
    batch = studies(missing={2, 5})
    found = loaded.predict(batch)
    scores = np.stack([found.scores["effusion"], found.scores["pneumothorax"]], axis=1)
    assert np.isnan(scores[[2, 5]]).all()
    np.testing.assert_allclose(scores[~np.isnan(scores[:, 0])], expected(net, batch), atol=1e-6)
    assert np.nanstd(scores[:, 0]) > 1e-3
    decided = np.where(np.isnan(scores[:, 0]), -1, scores[:, 0] >= 0.5)
    assert found.decisions["effusion"].tolist() == decided.tolist()
    assert set(found.decisions) == {"effusion"}


def test_the_declaration_fits(loaded):
    info = loaded.info
    assert info.capabilities == {Capability.CLASSIFY}
    assert info.outputs == ("score.effusion", "score.pneumothorax", "pred.effusion")
    assert info.required == ("image",) and info.runs_weights
    assert info.details["parameters"] >= 4 * 9 + 4 + 16 + 10
    json.dumps(info.to_dict())


def test_torch_reads_the_same_program_to_the_same_bits(folder):
    import torch

    run = EXPORTED.load(folder, settings=InferenceSettings()).run
    pixels = np.random.default_rng(2).standard_normal((5, 1, 24, 24)).astype(np.float32)
    with torch.no_grad():
        theirs = torch.export.load(folder / "model.pt2").module()(torch.from_numpy(pixels))
    np.testing.assert_array_equal(run(pixels), theirs.numpy())


def test_a_transformer_with_sizes_of_its_own_is_run(tmp_path):
    import torch

    class Seer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cut = torch.nn.Conv2d(1, 8, 8, stride=8)
            self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
            self.head = torch.nn.Linear(16, 2)
            self.register_buffer("place", torch.linspace(0, 1, 8), persistent=False)

        def forward(self, x):
            n = x.shape[0]
            hidden = self.layer(self.cut(x).flatten(2).transpose(1, 2) + self.place)
            low, high = hidden.chunk(2, dim=1)[0].mean(1), hidden.max(dim=1).values
            return self.head(
                torch.cat(
                    [
                        low,
                        high,
                    ],
                    dim=-1,
                )
                .reshape(n, 16)
                .to(torch.float64)
                .float()
            )

    torch.manual_seed(0)
    seer = Seer().eval()
    export(seer, save_wishes(tmp_path) / "model.pt2")
    batch = studies(7)
    found = EXPORTED.load(tmp_path, settings=InferenceSettings(batch_size=3)).predict(batch)
    np.testing.assert_allclose(
        np.stack([found.scores["effusion"], found.scores["pneumothorax"]], axis=1), expected(seer, batch), atol=1e-6
    )


def test_a_fixed_number_of_studies_is_filled_up(net, tmp_path):
    export(net, save_wishes(tmp_path) / "model.pt2", studies=4)
    batch = studies(6)
    found = EXPORTED.load(tmp_path, settings=InferenceSettings()).predict(batch)
    np.testing.assert_allclose(found.scores["effusion"], expected(net, batch)[:, 0], atol=1e-6)


def test_sample_inputs_are_refused_with_the_way_to_leave_them_out(net, tmp_path):
    export(net, save_wishes(tmp_path) / "model.pt2", examples=True)
    error = refused(tmp_path)
    assert "sample inputs" in error.message and "example_inputs = None" in error.remedy


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.write_text, (self.mark, "run")


@pytest.mark.parametrize(
    "name", ["data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/custom_obj_0", "data.pkl",
             "data/aotinductor/model/model.so", "extra/notes"],
)  # fmt: skip
def test_members_that_are_neither_graph_nor_raw_tensor_are_refused_and_not_run(folder, name):
    mark = folder / "mark.txt"
    held = pickle.dumps(Bomb(mark))
    drop = "data/sample_inputs/model.pt"
    edit(folder, lambda member, data: None if member == drop else data, add={name: held})
    assert name in refused(folder).message
    assert not mark.exists()


def test_a_tensor_that_is_marked_as_pickled_is_refused(folder):
    def change(name, data):
        return data.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith("config.json") else data

    edit(folder, change)
    assert "pickled" in refused(folder).message


def evil_size(code):
    def change(body):
        sizes = body["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0] = {"as_expr": {"expr_str": code, "hint": {"as_int": 2}}}

    return change


def test_expressions_of_the_file_are_never_evaluated(folder):
    mark = folder / "mark.txt"
    code = f"__import__('pathlib').Path({str(mark)!r}).write_text('run')"
    edit_program(folder, evil_size(code))
    assert "bound to another" in refused(folder).message
    edit_program(folder, lambda body: body.update(guards_code=[code]))
    refused(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.from_file.default", "torch.ops.aten.rand.default", "torch.ops.prims.add.default", "os.system",
     "torch.ops.higher_order.cond", "torch.ops.aten.as_strided.default", "builtins.eval", "torch.load"],
)  # fmt: skip
def test_operators_off_the_list_are_refused(folder, target):
    edit_program(folder, lambda body: body["graph_module"]["graph"]["nodes"][-1].update(target=target))
    assert target in refused(folder).message


@pytest.mark.parametrize("overload", ["__init__", "__class__", "overloads", "nothing"])
def test_only_operators_are_looked_up(folder, overload):
    target = f"torch.ops.aten.relu.{overload}"
    edit_program(folder, lambda body: body["graph_module"]["graph"]["nodes"][-1].update(target=target))
    with pytest.raises(AdapterError, match="no operator"):
        EXPORTED.load(folder, settings=InferenceSettings())


def test_training_mode_is_refused(folder):
    def change(body):
        for node in body["graph_module"]["graph"]["nodes"]:
            for item in node["inputs"]:
                if item["name"] == "train":
                    item["arg"] = {"as_bool": True}

    edit_program(folder, change)
    assert "training mode" in refused(folder).message


def test_a_program_that_changes_its_weights_is_stopped(folder):
    def change(body):
        node = next(n for n in body["graph_module"]["graph"]["nodes"] if n["target"].startswith("torch.ops.aten.relu"))
        other = json.loads(json.dumps(node))
        other["target"] = "torch.ops.aten.relu_.default"
        other["inputs"][0]["arg"] = {"as_tensor": {"name": "p_head_bias"}}
        other["outputs"] = [{"as_tensor": {"name": "unused"}}]
        body["graph_module"]["graph"]["nodes"].insert(0, other)

    edit_program(folder, change)
    adapter = EXPORTED.load(folder, settings=InferenceSettings())
    with pytest.raises(AdapterError, match="its own weights"):
        adapter.predict(studies(1))


def test_a_graph_that_fails_is_an_error_of_the_adapter(folder):
    edit_program(
        folder,
        lambda body: body["graph_module"]["graph"]["nodes"][0]["inputs"][0].update(arg={"as_tensor": {"name": "no"}}),
    )
    with pytest.raises(AdapterError, match="it failed on pictures"):
        EXPORTED.load(folder, settings=InferenceSettings()).predict(studies(1))


@pytest.mark.parametrize("where", ["graph_module", "signature", "nodes", "input_specs"])
def test_a_graph_that_is_none_is_refused(folder, where):
    def change(body):
        graph = body["graph_module"]
        holder = {"graph_module": body, "signature": graph, "nodes": graph["graph"], "input_specs": graph["signature"]}
        holder[where][where] = [None]

    edit_program(folder, change)
    assert refused(folder).file == "model.pt2"


def test_weights_that_do_not_reach_are_refused(folder):
    edit(folder, lambda name, data: data[:-4] if name == "data/weights/weight_0" else data)
    assert "bytes" in refused(folder).message


def test_compressed_archives_are_refused(folder):
    edit(folder, same, compress=zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(folder).message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps([1.0])])
def test_a_file_that_is_no_archive_is_refused(folder, content):
    (folder / "model.pt2").write_bytes(content)
    assert refused(folder).file == "model.pt2"


@pytest.mark.parametrize("name", ["model.py", "optimizer.pt", "notes.txt", "more/other.pt2"])
def test_other_files_are_refused(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps([1.0]))
    assert refused(folder).file == name


@pytest.mark.parametrize("name", ["model.pt2", "auscult.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in str(refused(folder))


@pytest.mark.parametrize(
    ("more", "column"),
    [
        ({"labels": ["effusion"]}, "labels"), ({"labels": ["a", "a"]}, "labels"), ({"labels": []}, "labels"),
        ({"labels": [1, 2]}, "labels"), ({"activation": "relu"}, "activation"), ({"activation": None}, "activation"),
        ({"thresholds": {"nodule": 0.5}}, "thresholds.nodule"), ({"input": {"size": 25, "channels": 1}}, "input"),
        ({"input": {"size": 24, "channels": 3}}, "input"), ({"input": {"size": 24}}, "input.channels"),
        ({"input": {"size": 24, "channels": 2}}, "input.channels"),
        ({"input": {"size": 0, "channels": 1}}, "input.size"),
        ({"input": {"size": [24], "channels": 1}}, "input.size"),
        ({"input": {"size": 24, "channels": 1, "std": [0]}}, "input.std"),
        ({"input": {"size": 24, "channels": 1, "mean": [0, 0]}}, "input.mean"),
        ({"input": {"size": 24, "channels": 1, "mean": ["0"]}}, "input.mean"),
        ({"input": {"size": 24, "channels": 1, "fit": "pad"}}, "input.fit"),
    ],
)  # fmt: skip
def test_wishes_that_do_not_fit_are_refused(folder, more, column):
    error = refused(save_wishes(folder, **more))
    assert (error.file, error.column) == ("auscult.json", column)


def test_probabilities_are_wanted_where_there_is_no_activation(folder):
    adapter = EXPORTED.load(save_wishes(folder, activation="none"), settings=InferenceSettings())
    adapter.run = lambda pixels: np.full((len(pixels), 2), 1.5)
    with pytest.raises(AdapterError, match="outside 0 to 1"):
        adapter.predict(studies(1))
    adapter.run = lambda pixels: np.full((len(pixels), 2), math.nan)
    with pytest.raises(AdapterError, match="not a number"):
        adapter.predict(studies(1))
    adapter.run = lambda pixels: np.full((len(pixels), 2), 0.25)
    assert adapter.predict(studies(1)).scores["effusion"].tolist() == [0.25]


def test_softmax_adds_up_to_one(folder):
    found = EXPORTED.load(save_wishes(folder, activation="softmax"), settings=InferenceSettings()).predict(studies(3))
    np.testing.assert_allclose(found.scores["effusion"] + found.scores["pneumothorax"], 1, atol=1e-12)


def test_another_precision_is_refused(folder):
    with pytest.raises(AdapterError, match="bfloat16"):
        EXPORTED.load(folder, settings=InferenceSettings(precision="bfloat16"))
