"""The page and the code say the same."""

from __future__ import annotations

import re
from pathlib import Path

from models_registry.cohorts import Mapping, inspect_cohort, nih
from models_registry.cohorts.problems import RULES

DOCS = Path(__file__).parents[2] / "docs"


def test_every_code_is_explained_with_its_severity() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (error|warning) \|", (DOCS / "cohorts.md").read_text(), re.MULTILINE)
    assert dict(rows) == {code: rule.severity for code, rule in RULES.items()}
    assert len(rows) == len(RULES)


def test_the_worked_example_does_what_the_page_says(tmp_path: Path) -> None:
    page = (DOCS / "cohorts.md").read_text()
    export = re.search(r"```\n(;Patient ID.*?)```", page, re.DOTALL)
    mapping = re.search(r"With\n\n```yaml\n(.*?)```", page, re.DOTALL)
    assert export is not None
    assert mapping is not None
    path = tmp_path / "export.csv"
    path.write_text(export[1], encoding="latin-1")
    first = inspect_cohort(path)
    assert {p.column for p in first.errors} == {"patient_id", "study_id"}
    assert "unnamed-column" in {p.code for p in first.warnings}
    second = inspect_cohort(path, mapping=Mapping.from_yaml(mapping[1]))
    assert second.errors == ()
    assert (second.summary["n_studies"], second.summary["n_patients"]) == (3, 2)
    assert second.summary["labels"]["pneumothorax"] == {"n": 2, "positive": 1, "negative": 1, "missing": 1}
    assert [(p.code, p.row) for p in second.warnings if p.row] == [("implausible-age", 3)]


def test_the_mapping_on_the_page_is_valid() -> None:
    block = re.search(r"```yaml\n(columns: +#.*?)```", (DOCS / "cohorts.md").read_text(), re.DOTALL)
    assert block is not None
    assert Mapping.from_yaml(block[1]).image_root == "../images"


def test_the_pinned_digest_is_on_the_page() -> None:
    assert nih.SHA256 in (DOCS / "data.md").read_text()
