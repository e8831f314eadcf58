"""auscult.json is read strictly: what is wrong is named with its key and a remedy, never passed over."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AdapterError
from models_registry.adapters.wishes import FILE, check_keys, read_thresholds, read_wishes

ALLOWED = {"labels": dict, "image": bool, "size": int, "scale": float, "prompt": str, "texts": list, "seed": (int, str)}


def refused(folder, text: str | bytes, **options) -> AdapterError:
    (folder / FILE).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(AdapterError) as caught:
        read_wishes(folder, ALLOWED, **options)
    assert caught.value.file == FILE
    assert caught.value.remedy
    assert str(folder) not in str(caught.value)
    return caught.value


def test_what_is_written_is_read(tmp_path):
    body = {"labels": {"a": {"positive": ["x"]}}, "image": True, "size": 3, "scale": 2, "texts": [], "seed": "s"}
    (tmp_path / FILE).write_text(json.dumps(body))
    assert read_wishes(tmp_path, ALLOWED, required=["labels"]) == body


def test_a_missing_file_is_allowed_or_refused(tmp_path):
    assert read_wishes(tmp_path, ALLOWED) == {}
    for options in ({"required": ["labels"]}, {"file_required": True}):
        with pytest.raises(AdapterError, match=r"auscult\.json is missing.*labels"):
            read_wishes(tmp_path, ALLOWED, **options)


def test_an_unknown_key_is_refused_and_the_known_ones_are_listed(tmp_path):
    error = refused(tmp_path, '{"lables": {}}')
    assert error.column == "lables"
    assert all(name in error.remedy for name in ALLOWED)


def test_a_missing_key_is_named(tmp_path):
    assert refused(tmp_path, '{"image": true}', required=["prompt"]).column == "prompt"


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('{"image": 1}', "image", "true or false"),
        ('{"size": true}', "size", "a whole number"),
        ('{"size": 1.0}', "size", "a whole number"),
        ('{"scale": "1"}', "scale", "a number"),
        ('{"scale": null}', "scale", "a number"),
        ('{"labels": []}', "labels", "an object"),
        ('{"seed": []}', "seed", "a whole number or a text"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path, text, key, said):
    error = refused(tmp_path, text)
    assert error.column == key
    assert said in error.remedy


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[1]", '"a"', '{"image": true', b'{"prompt": "\xff"}', '{"scale": NaN}', '{"scale": -Infinity}',
     '{"scale": 1e999}', '{"size": 1' + "0" * 400 + "}", '{"size": 1' + "0" * 5000 + "}", '{"labels": {"a": [1e300]}}',
     '{"image": true, "image": false}', '{"labels": {"a": 1, "a": 2}}',
     '{"prompt": "' + "x" * 20_001 + '"}', '{"texts": [' + "0," * 10_000 + "0]}", " " * (1 << 20) + "{}",
     '{"texts": ' + "[" * 9 + "]" * 9 + "}", '{"texts": ' + "[" * 100_000 + "]" * 100_000 + "}"],
    ids=lambda text: str(text[:20]),
)  # fmt: skip
def test_what_is_no_reasonable_object_is_refused(tmp_path, text):
    refused(tmp_path, text)


def test_the_place_of_a_number_that_is_not_finite_is_named(tmp_path):
    assert refused(tmp_path, '{"labels": {"a": [0, 1e999]}}').column == "labels.a.1"


def test_objects_inside_are_held_against_their_own_keys():
    check_keys({"size": 3}, {"size": int}, inside="input")
    with pytest.raises(AdapterError) as caught:
        check_keys({"edge": 3}, {"size": int}, inside="input")
    assert caught.value.column == "input.edge"


def test_thresholds_are_of_labels_and_from_0_to_1():
    assert read_thresholds({"thresholds": {"a": 1, "b": 0.25}}, ("a", "b", "c")) == {"a": 1.0, "b": 0.25}
    assert read_thresholds({}, ("a",)) == {}
    for value in (-0.1, 1.1, "0.5", None, True):
        with pytest.raises(AdapterError) as caught:
            read_thresholds({"thresholds": {"a": value}}, ("a",))
        assert caught.value.column == "thresholds.a"
    with pytest.raises(AdapterError, match="does not score"):
        read_thresholds({"thresholds": {"b": 0.5}}, ("a",))


@given(st.text(max_size=40))
def test_whatever_stands_in_the_file_is_read_or_refused(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("wishes", numbered=True)
    (folder / FILE).write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        assert isinstance(read_wishes(folder, ALLOWED), dict)
    except AdapterError as error:
        assert error.remedy
