"""Numbers in a text: read with analyte, unit, flag and time; held against the patient's measurements."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ProtocolError
from evaluation.engine.protocol_sections import NumberRule
from evaluation.engine.text.analytes import analyte_words, conversion
from evaluation.engine.text.quantities import QuantityVerdict, compare_quantity, quantities_of
from evaluation.engine.text.records import Quantity

CRP = NumberRule(analyte="crp", series="crp", unit="mg/L", low=0.0, high=5.0)


def read(text: str) -> tuple[Quantity, ...]:
    return quantities_of(text, [(0, len(text))])


def brief(text: str) -> list[tuple[str, float, str | None]]:
    return [(item.analyte, item.value, item.unit) for item in read(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CRP 45 mg/L", [("crp", 45, "mg/L")]),
        ("C-reactive protein: 45 mg/l.", [("crp", 45, "mg/L")]),
        ("heart rate of 110 bpm", [("heart_rate", 110, "/min")]),
        ("SpO2 92%", [("spo2", 92, "%")]),
        ("NT-proBNP: 1,200 pg/mL", [("nt_probnp", 1200, "pg/mL")]),
        ("BNP 300 ng/L", [("bnp", 300, "ng/L")]),
        ("45 mg/L of CRP", [("crp", 45, "mg/L")]),
        ("The C-reactive protein level was measured at 4.5 mg/dL.", [("crp", 4.5, "mg/dL")]),
        ("CRP rose from 45 to 120 mg/L", [("crp", 45, "mg/L"), ("crp", 120, "mg/L")]),
        ("CRP: 5.0 -> 45.2 mg/L", [("crp", 5.0, "mg/L"), ("crp", 45.2, "mg/L")]),
        ("CRP 50 mg/L (previously 10 mg/L)", [("crp", 50, "mg/L"), ("crp", 10, "mg/L")]),
        ("SpO2 dropped from 96% to 88%.", [("spo2", 96, "%"), ("spo2", 88, "%")]),
        ("creatinine 1.2 mg/dL (106 umol/L)", [("creatinine", 1.2, "mg/dL"), ("creatinine", 106, "umol/L")]),
        ("C-reactive protein is not raised (3 mg/L).", [("crp", 3, "mg/L")]),
        ("febrile at 38.9 C", [("temperature", 38.9, "Cel")]),
        ("creatinine increased to 1.4 mg/dL", [("creatinine", 1.4, "mg/dL")]),
        ("BP 120/80 mmHg", [("systolic_pressure", 120, "mm[Hg]"), ("diastolic_pressure", 80, "mm[Hg]")]),
        ("HR 98, RR 18/min, T 38.2 \N{DEGREE SIGN}C",
         [("heart_rate", 98, ""), ("respiratory_rate", 18, "/min"), ("temperature", 38.2, "Cel")]),
        ("temp 101.3 F", [("temperature", 101.3, "[degF]")]),
        ("K 4.2 mmol/L and Na: 138", [("potassium", 4.2, "mmol/L"), ("sodium", 138, "")]),
        ("sodium 140 mEq/L", [("sodium", 140, "meq/L")]),
        ("WBC 12.3 x10^9/L", [("wbc", 12.3, "10*9/L")]),
        ("WBC 12.3 \N{MULTIPLICATION SIGN} 10\N{SUPERSCRIPT NINE}/L", [("wbc", 12.3, "10*9/L")]),
        ("white cell count of 12,300/\N{MICRO SIGN}L", [("wbc", 12300, "/uL")]),
        ("white count 12.3 K/uL", [("wbc", 12.3, "10*3/uL")]),
        ("eGFR 55 mL/min/1.73m2", [("egfr", 55, "mL/min/{1.73_m2}")]),
        ("D-dimer 1.2 mg/L FEU", [("d_dimer", 1.2, "mg/L{FEU}")]),
        ("INR 2.3", [("inr", 2.3, "")]),
        # A unit of another kind is kept as a mistake.
        ("CRP 45 mmol/L", [("crp", 45, None)]),
        ("heart rate 110 mmHg", [("heart_rate", 110, None)]),
        ("CRP 45 foo/L", [("crp", 45, None)]),
    ],
)  # fmt: skip
def test_values_are_read_with_their_units(text: str, expected: list[tuple[str, float, str | None]]) -> None:
    assert brief(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "CRP 45-50 mg/L",
        "CRP between 45 and 50 mg/L",
        "CRP < 5 mg/L",
        "CRP less than 5 mg/L",
        "CRP rose by 20 mg/L",
        "CRP is not elevated.",
        "No leukocytosis or fever.",
        "CRP 2 days ago",
        "CRP 1,5 mg/L",
        "CRP 4.5e1 mg/L",
        "troponin negative",
        "afebrile, heart rate is not high",
        "Calcium in the aortic wall is increased.",
        "T12 fracture, L2 and L3 intact; vitamin K 3 tablets",
        "A nodule of 3 mm in the right lung, 2 views of the chest.",
        "pulses normal in 4 limbs",
        "",
        "\N{SUPERSCRIPT TWO}\x00 45 mg/L",
    ],
)
def test_what_is_no_value_is_left_out(text: str) -> None:
    assert read(text) == ()


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("CRP elevated at 45 mg/L", ["high"]),
        ("elevated CRP of 45 mg/L", ["high"]),
        ("CRP 45 mg/L (high)", ["high"]),
        ("CRP 45 mg/L, which is elevated", ["high"]),
        ("CRP was 45 mg/L at 6 h, elevated", ["high"]),
        ("low oxygen saturation of 88 percent", ["low"]),
        ("The white count is normal", ["normal"]),
        ("CRP within normal limits", ["normal"]),
        ("Tachycardia and leukocytosis", ["high", "high"]),
        ("C-reactive protein is not raised (3 mg/L).", [""]),
        ("fever of 39.2 C", ["high"]),
        ("CRP 45 mg/L without elevated WBC", [""]),
        ("CRP 45 mg/L", [""]),
    ],
)
def test_flags_are_read_with_and_without_numbers(text: str, flags: list[str]) -> None:
    found = read(text)
    assert [item.flag for item in found] == flags
    assert all(math.isnan(item.value) != any(char.isdigit() for char in text) for item in found)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("CRP 45 mg/L at 6 h", [6]),
        ("At 6 h, CRP was 45 mg/L and at 12 h 80 mg/L.", [6, 12]),
        ("CRP 45 mg/L at 6 h and 80 mg/L at 12 hours", [6, 12]),
        ("CRP 45 mg/L after 30 min", [0.5]),
        ("heart rate at hour 12 was 98", [12]),
        ("CRP 45 mg/L", [None]),
    ],
)
def test_times_belong_to_their_numbers(text: str, hours: list[float | None]) -> None:
    assert [item.hours for item in read(text)] == hours


def test_places_and_sentences_are_those_of_the_text_as_given() -> None:
    text = "Lungs clear.  The CRP was 45.0\N{NO-BREAK SPACE}mg/L. HR 98."
    found = quantities_of(text, [(0, 12), (14, 36), (37, len(text))])
    assert [text[item.start : item.end] for item in found] == ["CRP was 45.0\N{NO-BREAK SPACE}mg/L", "HR 98"]
    assert [(item.sentence, item.decimals) for item in found] == [(1, 1), (2, 0)]
    assert quantities_of(text, []) == ()
    assert quantities_of(text, [(0, 12)]) == ()


PIECES = st.sampled_from(
    ["CRP", "BP", "K", "WBC", "fever", "T", "45", "1,200", "0.5", "120/80", "38.2", "mg/L", " bpm", "%", "x10^9/L",
     "foo/L", "->", "from", "to", "at 6 h", "high", "no", "not", "(H)", ",", ".", ":", "=", "<", "of",
     "\u00b5", "\u2079", "\n"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=25), st.integers(1, 40))
def test_whatever_is_written_quantities_lie_in_their_sentences_and_keep_their_promises(
    pieces: list[str], length: int
) -> None:
    text = " ".join(pieces)
    sentences = [(start, min(len(text), start + length)) for start in range(0, len(text), length)]
    for item in quantities_of(text, sentences):
        low, high = sentences[item.sentence]
        assert low <= item.start < item.end <= high
        assert item.unit in (None, "", *analyte_words().analytes[item.analyte].units)
        assert item.flag in ("", "high", "low", "normal")
        assert item.flag or not math.isnan(item.value)
        assert item.decimals >= 0
        assert item.hours is None or item.hours >= 0
        assert compare_quantity(item, None, CRP) == "fabricated"


def test_places_of_one_text_do_not_overlap() -> None:
    text = "BP 120/80 mmHg, CRP 45 mg/L at 6 h and 80 mg/L at 12 h, elevated WBC, 98 bpm heart rate"
    found = read(text)
    assert [text[item.start : item.end] for item in found] == [
        "BP 120", "80 mmHg", "CRP 45 mg/L", "80 mg/L", "WBC", "98 bpm heart rate"
    ]  # fmt: skip


def test_a_text_of_a_megabyte_is_read_even_in_one_sentence() -> None:
    """A reader that is not linear does not come to its end here."""
    piece = "the CRP was 45 mg/L at 6 h and from 10 to 20 and elevated normal low of of of of at 7 h. "
    times = (1 << 20) // len(piece)
    found = quantities_of(piece * times, [(0, times * len(piece))])
    assert len(found) == times
    assert {item.value for item in found} == {45.0}


def test_the_vocabulary_holds_together() -> None:
    words = analyte_words()
    assert len(words.analytes) >= 25
    for analyte in words.analytes.values():
        for unit in analyte.units:
            assert conversion(analyte.key, unit, analyte.units[0]) is not None, (analyte.key, unit)
    for code in set(words.codes.values()):
        conversion("crp", "mg/L", code)


@pytest.mark.parametrize(
    ("analyte", "source", "value", "target", "expected"),
    [
        # By hand, from the molar masses: 1 mg/dL is 10 / M mmol/L.
        ("crp", "mg/dL", 4.5, "mg/L", 45.0),
        ("glucose", "mg/dL", 180.156, "mmol/L", 10.0),
        ("creatinine", "mg/dL", 1.0, "umol/L", 88.4),
        ("creatinine", "umol/L", 88.4, "mg/dL", 1.0),
        ("calcium", "mg/dL", 10.0, "mmol/L", 2.495),
        ("calcium", "meq/L", 5.0, "mmol/L", 2.5),
        ("sodium", "meq/L", 140.0, "mmol/L", 140.0),
        ("urea_nitrogen", "mg/dL", 28.0134, "mmol/L", 10.0),
        ("wbc", "/uL", 12300.0, "10*9/L", 12.3),
        ("temperature", "[degF]", 98.6, "Cel", 37.0),
        ("temperature", "Cel", 37.0, "[degF]", 98.6),
        ("pco2", "kPa", 5.333, "mm[Hg]", 40.0),
        ("spo2", "1", 0.92, "%", 92.0),
        ("hba1c", "mmol/mol", 48.0, "%", 6.543),
        ("hba1c", "%", 6.543, "mmol/mol", 48.0),
        ("alt", "[IU]/L", 40.0, "U/L", 40.0),
        ("alt", "ukat/L", 1.0, "U/L", 60.0),
    ],
)
def test_units_are_converted(analyte: str, source: str, value: float, target: str, expected: float) -> None:
    found = conversion(analyte, source, target)
    assert found is not None
    assert found[0] * value + found[1] == pytest.approx(expected, rel=1e-3)


def test_units_that_cannot_be_converted() -> None:
    assert conversion("crp", "kPa", "mg/L") is None
    assert conversion("albumin", "g/L", "mmol/L") is None
    for code in ("furlong", "", "mmHg", "[pH]", "mg / L"):
        with pytest.raises(ProtocolError, match="no UCUM unit") as caught:
            conversion("crp", code, "mg/L")
        assert "mg/dL" in caught.value.remedy
    with pytest.raises(ProtocolError, match="without a dimension"):
        conversion("crp", "{score}", "mg/L")
    with pytest.raises(ProtocolError, match="no analyte 'crq'"):
        conversion("crq", "mg/dL", "mg/L")


def verdict(text: str, values: list[tuple[float, float]] | None, rule: NumberRule = CRP) -> QuantityVerdict:
    [quantity] = read(text)
    return compare_quantity(quantity, None if values is None else np.array(values, dtype=float).reshape(-1, 2), rule)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("CRP 45 mg/L", [(0, 45.0)], "ok"),
        ("CRP 45 mg/L", [(0, 45.4)], "ok"),
        ("CRP 45 mg/L", [(0, 45.5)], "ok"),
        ("CRP 45 mg/L", [(0, 45.6)], "value"),
        ("CRP 45.0 mg/L", [(0, 45.4)], "value"),
        ("CRP 1.0 mg/L", [(0, 1.0)], "ok"),
        ("CRP 1.00 mg/L", [(0, 1.0)], "ok"),
        ("CRP 10 mg/L", [(0, 1.0)], "value"),
        ("CRP 11 mg/L", [(0, 1.0)], "value"),
        ("CRP 4.5 mg/dL", [(0, 45.0)], "ok"),
        ("CRP 4.5 mg/L", [(0, 45.0)], "unit"),
        ("CRP 45 mg/dL", [(0, 45.0)], "unit"),
        ("CRP 45 mmol/L", [(0, 45.0)], "unit"),
        ("CRP 45", [(0, 45.0)], "ok"),
        ("CRP 46", [(0, 45.0)], "value"),
        ("CRP 45 mg/L", None, "fabricated"),
        ("CRP 45 mg/L", [], "fabricated"),
        ("CRP 45 mg/L", [(0, math.nan)], "fabricated"),
        ("CRP 45 mg/L at 6 h", [(0, 10.0), (6, 45.0)], "ok"),
        ("CRP 45 mg/L at 6 h", [(0, 45.0), (6, 10.0)], "time"),
        ("CRP 45 mg/L at 6 h", [(6.5, 45.0)], "ok"),
        ("CRP 45 mg/L at 6 h", [(6.6, 45.0)], "time"),
        ("CRP elevated at 45 mg/L", [(0, 45.0)], "ok"),
        ("CRP normal at 45 mg/L", [(0, 45.0)], "flag"),
        ("CRP low at 2 mg/L", [(0, 2.0)], "flag"),
        ("CRP normal at 46 mg/L", [(0, 45.0)], "value"),
        ("CRP is elevated", [(0, 2.0), (6, 45.0)], "ok"),
        ("CRP is elevated", [(0, 2.0)], "flag"),
        ("CRP is elevated at 6 h", [(0, 45.0), (6, 2.0)], "flag"),
        ("CRP is elevated at 9 h", [(0, 45.0), (6, 2.0)], "time"),
        ("CRP is elevated", None, "fabricated"),
        ("CRP is normal", [(0, 2.0)], "ok"),
        ("CRP is normal", [(0, 45.0)], "flag"),
    ],
)
def test_a_value_is_in_one_class(text: str, values: list[tuple[float, float]] | None, expected: str) -> None:
    assert verdict(text, values) == expected


def test_a_flag_without_a_limit_to_judge_it_by_is_not_wrong() -> None:
    no_low = NumberRule(analyte="crp", series="crp", unit="mg/L", high=5.0)
    assert verdict("CRP is low", [(0, 2.0)], no_low) == "ok"
    assert verdict("CRP is elevated", [(0, 2.0)], no_low) == "flag"


def test_values_of_the_cohort_in_another_unit_than_the_text() -> None:
    rule = NumberRule(analyte="glucose", series="glucose", unit="mmol/L")
    assert verdict("glucose 180 mg/dL", [(0, 10.0)], rule) == "ok"
    assert verdict("glucose 180 mmol/L", [(0, 10.0)], rule) == "unit"
    assert verdict("glucose 180", [(0, 10.0)], rule) == "unit"
    assert verdict("glucose 200 mg/dL", [(0, 10.0)], rule) == "value"
    fahrenheit = NumberRule(analyte="temperature", series="temperature", unit="[degF]")
    assert verdict("temp 38.2 C", [(0, 100.8)], fahrenheit) == "ok"
    assert verdict("temp 38.2 F", [(0, 100.8)], fahrenheit) == "unit"


def test_agreement_with_rounding_by_the_decimal_module() -> None:
    """A number matches exactly where it is a rounding of the measurement, or the tie beside it."""
    from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal

    rng = np.random.default_rng(7)
    for _ in range(500):
        value = Decimal(int(rng.integers(0, 100_000))) / 1000
        digits = int(rng.integers(0, 3))
        step = Decimal(1).scaleb(-digits)
        printed = value.quantize(step) + int(rng.integers(-1, 2)) * step
        if printed < 0:
            continue
        roundings = {value.quantize(step, mode) for mode in (ROUND_HALF_UP, ROUND_HALF_DOWN)}
        rule = NumberRule(analyte="inr", series="inr", unit="1")
        [quantity] = read(f"INR {printed:f}")
        found = compare_quantity(quantity, np.array([[0.0, float(value)]]), rule)
        assert (found == "ok") == (printed in roundings), (value, printed)
