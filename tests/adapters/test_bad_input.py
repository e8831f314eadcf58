"""One list of bad input, tried on every kind of model that it concerns: named clearly, and nothing crashes otherwise.

What only one adapter knows (endpoints, archives of torch, GGUF headers, prediction logs) is in its own tests.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.digests import folder_manifest
from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, InferenceSettings, ModelAdapter
from models_registry.adapters.gguf_file import read_header
from models_registry.adapters.pretrained import colour
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.cohorts.images import ImageFault, decode_image
from models_registry.cohorts.schema import StudyBatch
from tests.adapters.conftest import ADAPTER_FIXTURES, SAVERS
from tests.adapters.models_g3 import export, save_onnx, small_net

WEIGHTS = {
    "clip": "model.safetensors",
    "vision_encoder_decoder": "model.safetensors",
    "image_text_to_text": "model.safetensors",
    "qwen2_vl": "model.safetensors",
    "text_generation": "model.safetensors",
    "gguf": "model.gguf",
    "torch_export": "model.pt2",
    "onnx": "model.onnx",
}
"""Kinds of models whose weights are run here, and their file. The reference model has tests of its own."""
TRANSFORMERS = tuple(kind for kind, name in WEIGHTS.items() if name == "model.safetensors")
SEEING = tuple(kind for kind in WEIGHTS if kind not in {"text_generation", "gguf"})
PROCESSED = tuple(kind for kind in SEEING if kind in TRANSFORMERS)


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> dict[str, Path]:
    """A folder of each kind, saved once."""
    made = {kind: tmp_path_factory.mktemp(kind) for kind in WEIGHTS}
    for kind, folder in made.items():
        SAVERS[kind](folder)
    return made


@pytest.fixture
def spoilt(homes, tmp_path) -> Callable[[str], Path]:
    """A copy that a test may spoil."""
    return lambda kind: Path(shutil.copytree(homes[kind], tmp_path / kind))


def inspect(kind: str, folder: Path) -> None:
    ADAPTERS.get(ADAPTER_FIXTURES[kind]).inspect(folder)


def load(kind: str, folder: Path, **more: Any) -> ModelAdapter:
    return ADAPTERS.get(ADAPTER_FIXTURES[kind]).load(folder, settings=InferenceSettings(), **more)


def refused(kind: str, folder: Path, act: Callable[..., Any] = inspect, **more: Any) -> AdapterError:
    before = folder_manifest(folder)
    with pytest.raises(AdapterError) as caught:
        act(kind, folder, **more)
    assert caught.value.remedy
    assert str(folder) not in str(caught.value)
    assert folder_manifest(folder) == before
    return caught.value


def studies(*images: np.ndarray) -> StudyBatch:
    ids = tuple(f"s{row}" for row in range(len(images)))
    reasons = [f"cough {row}" for row in range(len(images))]
    return StudyBatch(study_ids=ids, patient_ids=ids, images=list(images), texts={"indication": reasons})


def answers(adapter: ModelAdapter, batch: StudyBatch) -> list[Any]:
    """Scores of the first label, or texts."""
    found = adapter.predict(batch)
    return next(iter({**found.scores, **found.texts}.values())).tolist()


# Weights


@pytest.mark.parametrize("kind", WEIGHTS)
def test_truncated_weights_are_named_before_they_are_run(spoilt, kind):
    folder = spoilt(kind)
    path = folder / WEIGHTS[kind]
    whole = path.read_bytes()
    for size in (0, 7, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert refused(kind, folder).file == WEIGHTS[kind], size


@pytest.mark.parametrize("kind", WEIGHTS)
def test_missing_weights_are_named(spoilt, kind):
    folder = spoilt(kind)
    (folder / WEIGHTS[kind]).unlink()
    # Without its file a GGUF folder is an ordinary one that has nothing.
    assert refused(kind, folder).file == ("config.json" if kind == "gguf" else WEIGHTS[kind])


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_tensor_of_another_shape_is_named_with_both_shapes(spoilt, kind):
    from safetensors.numpy import load_file, save_file

    folder = spoilt(kind)
    tensors = load_file(folder / WEIGHTS[kind])
    name = max(tensors, key=lambda name: (tensors[name].ndim == 2, tensors[name].size))
    rows, columns = tensors[name].shape
    tensors[name] = np.ascontiguousarray(tensors[name][:-1])
    save_file(tensors, folder / WEIGHTS[kind], metadata={"format": "pt"})
    error = refused(kind, folder)
    assert name in str(error) and f"{rows - 1} x {columns}" in str(error) and f"{rows} x {columns}" in str(error)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_missing_tensor_is_named_before_anything_is_loaded(spoilt, kind):
    from safetensors.numpy import load_file, save_file

    folder = spoilt(kind)
    tensors = load_file(folder / WEIGHTS[kind])
    name = max(tensors, key=lambda name: (tensors[name].ndim == 2, "mlp" in name, tensors[name].size))
    del tensors[name]
    save_file(tensors, folder / WEIGHTS[kind], metadata={"format": "pt"})
    error = refused(kind, folder)
    assert "is missing" in str(error) and name.rpartition("mlp")[2] in str(error)


def put_nan(kind: str, folder: Path) -> None:
    """One number of the weights that all answers pass through becomes NaN."""
    path = folder / WEIGHTS[kind]
    if kind == "gguf":
        data = bytearray(path.read_bytes())
        start = read_header(path).tensors["output_norm.weight"].start
        data[start : start + 4] = struct.pack("<f", np.nan)
        path.write_bytes(bytes(data))
    elif kind in {"torch_export", "onnx"}:
        net = small_net()
        net.head.weight.data[0, 0] = float("nan")
        (export if kind == "torch_export" else save_onnx)(net, path)
    else:
        from safetensors.numpy import load_file, save_file

        tensors = load_file(path)
        for values in tensors.values():
            if values.dtype.kind == "f" and values.ndim:
                values.flat[0] = np.nan
        save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_are_no_numbers_are_an_error_and_no_missing_prediction(spoilt, kind):
    folder = spoilt(kind)
    put_nan(kind, folder)
    inspect(kind, folder)
    batch = studies(np.full((30, 30), 90, dtype=np.uint8))
    with pytest.raises(AdapterError, match="number") as caught:
        load(kind, folder).predict(batch)
    assert "weights" in caught.value.remedy


def test_scores_that_become_no_numbers_are_an_error_too(spoilt):
    """An infinite logit is 1 to the sigmoid; the softmax makes NaN of it."""
    folder = spoilt("onnx")
    net = small_net()
    net.head.bias.data[0] = float("inf")
    save_onnx(net, folder / "model.onnx")
    batch = studies(np.full((24, 24), 90, dtype=np.uint8))
    assert load("onnx", folder).predict(batch).scores["effusion"].tolist() == [1.0]
    body = json.loads((folder / "auscult.json").read_text())
    (folder / "auscult.json").write_text(json.dumps(body | {"activation": "softmax"}))
    with pytest.raises(AdapterError, match="not a number"):
        load("onnx", folder).predict(batch)


# What belongs to the weights


@pytest.mark.parametrize("kind", PROCESSED)
def test_a_missing_processor_is_named(spoilt, kind):
    folder = spoilt(kind)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)
    assert refused(kind, folder).file == "preprocessor_config.json"


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_files_of_half_their_length_are_named(spoilt, kind):
    """A configuration, tokenizer or processor that was cut off."""
    folder = spoilt(kind)
    names = {"config.json", "tokenizer.json", "preprocessor_config.json", "processor_config.json", "auscult.json"}
    for path in sorted(folder.iterdir()):
        if path.name in names:
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            assert refused(kind, folder).file is not None, path.name
            path.write_bytes(whole)
    inspect(kind, folder)


@pytest.mark.parametrize("kind", ["clip", "torch_export", "onnx"])
def test_a_threshold_of_another_label_is_refused(spoilt, kind):
    folder = spoilt(kind)
    body = json.loads((folder / "auscult.json").read_text())
    (folder / "auscult.json").write_text(json.dumps(body | {"thresholds": {"fracture": 0.5}}))
    error = refused(kind, folder)
    assert "fracture" in str(error) and error.file == "auscult.json"


@pytest.mark.parametrize("kind", ["torch_export", "onnx"])
def test_labels_and_outputs_must_be_as_many(spoilt, kind):
    folder = spoilt(kind)
    body = json.loads((folder / "auscult.json").read_text())
    more = body | {"labels": [*body["labels"], "fracture"], "thresholds": {}}
    (folder / "auscult.json").write_text(json.dumps(more))
    assert refused(kind, folder).column == "labels"


# Where it runs


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_device_that_is_not_there_is_named(homes, monkeypatch, kind):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    error = refused(kind, homes[kind], load, device="cuda:0")
    assert "CUDA" in str(error) and "AUSCULT_DEVICE=cpu" in error.remedy


def test_a_lack_of_memory_in_onnxruntime_is_known_as_one(homes, monkeypatch):
    """The worker halves a batch on this; onnxruntime has no type of its own for it."""
    from evaluation.execution.loading import out_of_memory

    adapter = load("onnx", homes["onnx"])
    runtime = pytest.importorskip("onnxruntime")
    said = "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 9"

    def fail(*_: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(runtime.InferenceSession, "run", fail)
    with pytest.raises(AdapterError) as caught:
        adapter.predict(studies(np.zeros((24, 24), dtype=np.uint8)))
    assert out_of_memory(caught.value)


# Pictures


def encoded(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def odd_pictures() -> dict[str, tuple[bytes, Image.Image]]:
    """Encoded pictures of unusual kinds, and what anyone should see in them."""
    ramp = np.linspace(0, 255, 40 * 36).astype(np.uint8).reshape(40, 36)
    grey = Image.fromarray(ramp)
    warm = Image.merge("RGB", (grey, grey.rotate(90).resize(grey.size), grey.rotate(180)))
    deep = (ramp.astype(np.uint16) << 8) | ramp
    twelve = ramp.astype(np.uint16) << 4
    cmyk = encoded(warm.convert("CMYK"), "JPEG", quality=100)
    return {
        "16 bits": (encoded(Image.fromarray(deep)), grey),
        "12 bits in 16": (encoded(Image.fromarray(twelve)), grey),
        "CMYK": (cmyk, Image.open(io.BytesIO(cmyk)).convert("RGB")),
        "RGBA": (encoded(warm.convert("RGBA")), warm),
        "grey with alpha": (encoded(grey.convert("LA")), grey),
        "palette": (encoded(warm.quantize(16)), warm.quantize(16).convert("RGB")),
        "black and white": (encoded(grey.convert("1")), grey.convert("1").convert("L")),
    }


@pytest.fixture(scope="module")
def odd_batch(tmp_path_factory) -> StudyBatch:
    """The pictures as a cohort gives them to a model."""
    home = tmp_path_factory.mktemp("odd")
    made = odd_pictures()
    pq.write_table(
        pa.table(
            {
                "patient_id": [f"p{row}" for row in range(len(made))],
                "study_id": list(made),
                "label.effusion": [0] * len(made),
                "image": [data for data, _ in made.values()],
                "text.indication": ["cough"] * len(made),
            }
        ),
        home / "cohort.parquet",
    )
    convert_cohort(home / "cohort.parquet", mapping=None, destination=home / "cohort")
    reader = open_cohort(home / "cohort")
    return next(iter(reader.batches(reader.shards[0], batch_size=16)))


@pytest.mark.parametrize("kind", SEEING)
def test_pictures_of_unusual_kinds_are_seen_as_anyone_sees_them(homes, odd_batch, kind):
    adapter = load(kind, homes[kind])
    seen = {name: np.asarray(picture) for name, (_, picture) in odd_pictures().items()}
    plain = StudyBatch(
        study_ids=odd_batch.study_ids,
        patient_ids=odd_batch.patient_ids,
        images=[seen[name] for name in odd_batch.study_ids],
        texts=odd_batch.texts,
    )
    found, wanted = answers(adapter, odd_batch), answers(adapter, plain)
    assert all(answer is not None for answer in found)
    if isinstance(found[0], float):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    else:
        assert found == wanted


def test_deep_greys_in_memory_become_what_a_reader_makes_of_them():
    deep = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    np.testing.assert_array_equal(np.asarray(colour(deep))[:, :, 0], decode_image(encoded(Image.fromarray(deep))))
    assert np.asarray(colour(deep[:, :, None])).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8)), np.zeros((0, 8), np.uint8), np.zeros(8, np.uint8)]
)
def test_arrays_that_are_no_picture_are_refused(homes, image):
    for kind in ("clip", "vision_encoder_decoder", "torch_export"):
        with pytest.raises(AdapterError, match="A picture is"):
            load(kind, homes[kind]).predict(studies(image))


def jpeg_bomb() -> bytes:
    """A JPEG of a few hundred bytes that says it has 65,000 x 65,000 pixels."""
    data = bytearray(encoded(Image.fromarray(np.zeros((16, 16), np.uint8)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)


def png_bomb() -> bytes:
    """A PNG whose header says 60,000 x 60,000; the checksum of the header is right."""
    import zlib

    data = bytearray(encoded(Image.fromarray(np.zeros((16, 16), np.uint8))))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("make", [jpeg_bomb, png_bomb])
def test_an_image_bomb_is_refused_by_its_header(make):
    with pytest.raises(ImageFault) as caught:
        decode_image(make())
    assert caught.value.code == "image-too-large"


def test_a_text_hidden_in_a_picture_does_not_unfold():
    """A PNG whose compressed comment would take 400 MB: the decoder's own limit holds."""
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("Comment", "a" * 80_000_000, zip=True)
    data = encoded(Image.fromarray(np.zeros((8, 8), np.uint8)), pnginfo=note)
    assert len(data) < 100_000
    with pytest.raises(ImageFault) as caught:
        decode_image(data)
    assert caught.value.code == "unreadable-image"
