"""A language model in one GGUF file: the same texts as its safetensors twin, and damaged files named."""

from __future__ import annotations

import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from core.errors import AdapterError
from models_registry.adapters import gguf_checkpoint
from models_registry.adapters.base import ADAPTERS, InferenceSettings
from models_registry.adapters.gguf_checkpoint import load_gguf_tokenizer
from models_registry.adapters.gguf_file import read_header
from tests.adapters.models_g2 import save_text_generation, studies, tokenizer
from tests.adapters.models_gguf import save_gguf, save_qwen2_gguf, write

FACTORY = ADAPTERS.get("text_generation")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return save_gguf(tmp_path_factory.mktemp("gguf") / "whole")


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def refused(folder: Path) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        FACTORY.inspect(folder)
    assert caught.value.remedy
    assert str(folder) not in str(caught.value)
    return caught.value


def written(adapter) -> list[str | None]:
    return adapter.predict(studies()).texts["generated"].tolist()


# What is run


def test_weights_and_texts_are_those_of_the_safetensors_twin(whole, tmp_path):
    import torch

    found = FACTORY.load(whole, settings=InferenceSettings())
    twin = FACTORY.load(save_text_generation(tmp_path / "twin"), settings=InferenceSettings())
    ours, theirs = found.writer.model.state_dict(), twin.writer.model.state_dict()
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert written(found) == written(twin)
    assert len(set(written(found))) > 2
    assert found.info.details["parameters"] == twin.info.details["parameters"]
    assert found.info.details["context"] == 512


@pytest.mark.parametrize(("kind", "error"), [("F16", 0.001), ("BF16", 0.005), ("Q8_0", 0.005), ("Q4_0", 0.13)])
def test_packed_weights_are_unpacked(whole, tmp_path, kind, error):
    folder = save_gguf(tmp_path / kind, kind=kind)
    assert FACTORY.inspect(folder).details["stored_as"] == {"F32": 5, kind: 16}
    found = FACTORY.load(folder, settings=InferenceSettings())
    exact = FACTORY.load(whole, settings=InferenceSettings()).writer.model.state_dict()
    for name, value in found.writer.model.state_dict().items():
        assert float((value - exact[name]).abs().max()) <= error * float(exact[name].abs().max()), name
    assert sum(text is not None for text in written(found)) == 6


def test_a_qwen_with_tied_words_and_biases_is_its_twin(tmp_path):
    import torch

    folder, twin = save_qwen2_gguf(tmp_path / "qwen")
    found = FACTORY.load(folder, settings=InferenceSettings())
    assert found.info.details["architecture"] == "Qwen2ForCausalLM"
    ours, theirs = found.writer.model.state_dict(), twin.state_dict()
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert sum(text is not None for text in written(found)) == 6


def test_the_header_tells_shapes_and_kinds_without_the_weights(whole):
    header = read_header(whole / "model.gguf")
    assert header.architecture == "llama"
    assert header.kinds == {"F32": 21}
    assert header.tensors["blk.0.ffn_down.weight"].shape == (32, 64)
    assert max(tensor.end for tensor in header.tensors.values()) <= (whole / "model.gguf").stat().st_size


def test_every_token_is_one_of_the_file(whole):
    """transformers adds <|endoftext|> to a vocabulary without it: that would be a row beyond the model's last."""
    found, wanted = load_gguf_tokenizer(whole, "model.gguf"), tokenizer()
    assert found.get_vocab() == wanted.get_vocab()
    for text in ("cough and fever", "<turn> é\n 12", "<|endoftext|>"):
        assert found(text)["input_ids"] == wanted(text)["input_ids"]
    assert (found.bos_token, found.eos_token, found.pad_token) == ("<s>", "</s>", "<pad>")


def test_a_template_beside_the_file_comes_first(folder):
    (folder / "chat_template.jinja").write_text("Instead: {{ messages[0]['content'] }}")
    adapter = FACTORY.load(folder, settings=InferenceSettings())
    assert adapter.setting.render("Words.") == "Instead: Words."


def test_a_nan_in_the_weights_is_an_error_when_it_runs(folder):
    path = folder / "model.gguf"
    start = read_header(path).tensors["output_norm.weight"].start
    data = bytearray(path.read_bytes())
    data[start : start + 4] = struct.pack("<f", float("nan"))
    path.write_bytes(bytes(data))
    adapter = FACTORY.load(folder, settings=InferenceSettings())
    with pytest.raises(AdapterError, match="not numbers"):
        adapter.predict(studies())


# What is refused


def test_a_truncated_file_is_refused_wherever_it_ends(folder):
    path = folder / "model.gguf"
    data = path.read_bytes()
    for size in (0, 3, 10, 24, 100, 1000, 5000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        error = refused(folder)
        assert error.file == "model.gguf" and "not a whole GGUF file" in str(error), size
    assert "the tensor" in str(error) and f"{len(data) - 1:,} bytes" in str(error)


def test_a_header_with_any_byte_changed_is_read_or_refused(whole, tmp_path):
    """Whatever stands in the header, nothing but an AdapterError comes out of it, and quickly."""
    data = (whole / "model.gguf").read_bytes()
    first = min(tensor.start for tensor in read_header(whole / "model.gguf").tensors.values())
    rng, path = np.random.default_rng(3), tmp_path / "model.gguf"
    read = 0
    for _ in range(400):
        spoilt = bytearray(data)
        for place in rng.integers(4, first, size=rng.integers(1, 4)):
            spoilt[place] = rng.integers(0, 256)
        path.write_bytes(bytes(spoilt))
        try:
            read_header(path)
        except AdapterError:
            continue
        read += 1
    assert 0 < read < 400


COUNTS = {8: "tensors", 16: "keys"}


@pytest.mark.parametrize("place", COUNTS)
def test_a_header_that_promises_too_much_is_not_walked_through(folder, place):
    path = folder / "model.gguf"
    data = bytearray(path.read_bytes())
    data[place : place + 8] = struct.pack("<Q", 1 << 62)
    path.write_bytes(bytes(data))
    assert COUNTS[place] in str(refused(folder)) and "at most" in str(refused(folder))


def header_of(*entries: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries)


def entry(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


ARCHITECTURE = entry("general.architecture", 8, text("llama"))
BAD_HEADERS = {
    "a list of lists": (header_of(entry("x", 9, struct.pack("<IQ", 9, 1))), "unknown kind 9"),
    "an endless list": (header_of(entry("x", 9, struct.pack("<IQ", 0, 1 << 40))), "entries of lists"),
    "an endless text": (header_of(entry("x", 8, struct.pack("<Q", 1 << 40))), "bytes of a text"),
    "an unknown kind": (header_of(entry("x", 77, b"\0" * 8)), "unknown kind 77"),
    "a key twice": (header_of(ARCHITECTURE, ARCHITECTURE), "given twice"),
    "no architecture": (header_of(entry("x", 4, struct.pack("<I", 1))), "architecture"),
    "no text": (header_of(entry("general.architecture", 8, struct.pack("<Q", 2) + b"\xff\xfe")), "UTF-8"),
    "version 1": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "no vocabulary": (header_of(ARCHITECTURE), "no vocabulary"),
    "one of parts": (header_of(ARCHITECTURE, entry("split.count", 2, struct.pack("<H", 3))), "one of 3 parts"),
    "layers without end": (
        header_of(ARCHITECTURE, entry("llama.block_count", 4, struct.pack("<I", 1 << 31))),
        "at most 2,000",
    ),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_bad_header_is_named(folder, name):
    data, said = BAD_HEADERS[name]
    (folder / "model.gguf").write_bytes(data)
    assert said in str(refused(folder))


def test_a_tensor_that_is_missing_is_named(tmp_path):
    error = refused(save_gguf(tmp_path / "m", leave_out="blk.1.attn_v.weight"))
    assert "blk.1.attn_v.weight is missing" in str(error) and error.column == "blk.1.attn_v.weight"


def test_more_layers_than_weights_are_refused(tmp_path):
    assert "blk.2." in str(refused(save_gguf(tmp_path / "m", block_count=3)))


def test_weights_of_another_size_are_refused(tmp_path):
    error = refused(save_gguf(tmp_path / "m", feed_forward_length=48))
    assert "ffn_down" in str(error) and "2,048 numbers" in str(error) and "1,536" in str(error)


def test_a_model_that_transformers_does_not_run_from_gguf_is_refused(tmp_path):
    error = refused(save_gguf(tmp_path / "m", arch="whisper"))
    assert "whisper" in str(error) and "safetensors" in error.remedy


def test_a_model_of_another_kind_is_refused(tmp_path):
    assert "causal language model" in str(refused(save_gguf(tmp_path / "m", arch="t5")))


def test_several_files_and_files_that_say_the_same_are_refused(folder):
    shutil.copy(folder / "model.gguf", folder / "other.gguf")
    assert "2 GGUF files" in str(refused(folder))
    (folder / "other.gguf").rename(folder / "hidden.txt")
    assert "2 GGUF files" in str(refused(folder))
    (folder / "hidden.txt").unlink()
    (folder / "config.json").write_text("{}")
    assert "config.json lies beside" in str(refused(folder))
    (folder / "config.json").unlink()
    (folder / "model.gguf").rename(folder / "model.weights")
    assert "named *.gguf" in str(refused(folder))


def test_a_note_that_begins_with_the_word_is_a_note(folder):
    (folder / "README.md").write_text("GGUF file of our own, converted in June.")
    assert FACTORY.inspect(folder).runs_weights


def test_a_pickle_beside_the_file_is_refused(folder):
    (folder / "extra.dat").write_bytes(pickle.dumps({"a": 1}))
    assert refused(folder).file == "extra.dat"


def test_without_the_package_the_way_to_install_it_is_told(folder, monkeypatch):
    monkeypatch.setattr(gguf_checkpoint, "find_spec", lambda name: None)
    assert "auscult[gguf]" in refused(folder).remedy


def test_a_wish_is_needed_here_too(folder):
    (folder / "auscult.json").unlink()
    assert refused(folder).file == "auscult.json"


def test_a_vocabulary_that_the_model_does_not_know_is_refused(tmp_path):
    folder = save_gguf(tmp_path / "m", vocab_size=100)
    assert "output.weight has 8,480 numbers; the model asks for 3,200" in str(refused(folder))


def test_writing_another_file_is_seen_by_the_digest(tmp_path):
    """Two kinds of packing are two versions: the settings of the file are in its bytes."""
    write(tmp_path / "a.gguf")
    write(tmp_path / "b.gguf")
    write(tmp_path / "c.gguf", kind="Q8_0")
    first, second, third = ((tmp_path / f"{name}.gguf").read_bytes() for name in "abc")
    assert first == second != third
