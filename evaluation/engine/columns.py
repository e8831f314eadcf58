"""Whether a file, or a cohort and a model, has what a protocol judges by: every gap is told at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from core.errors import ProtocolError
from evaluation.engine.protocol import Protocol

MAX_SHOWN = 30
MAX_LISTED = 600
"""Columns, and characters of their names, that an error lists."""


def check_columns(
    protocol: Protocol,
    columns: Sequence[str],
    *,
    file: str,
    able: Collection[str] | None = None,
    compared: bool = False,
) -> None:
    """Whether a file with these columns, or a cohort and a model, can be judged by the protocol.

    Args:
        able: What the model can be asked for, such as ``answer``; None for a file, which can be asked nothing.
        compared: The cohort is a window that is held against a reference, which had what the section 'drift' names.
            What the window lacks of it is then missing in every study, which is a drift and no reason to look away.

    Raises:
        ProtocolError: naming every column that is missing, every label that lacks a threshold, and everything that
            the model would be asked and cannot do.
    """
    have = set(columns)
    gaps = [
        *_attribute_gaps(protocol, have),
        *_label_gaps(protocol, have),
        *_score_gaps(protocol, have),
        *_other_gaps(protocol, have),
        *_report_gaps(protocol, have),
        *(() if compared or able is None else _drift_gaps(protocol, have, able)),
        *(() if able is None else _asking_gaps(protocol, have, able)),
    ]
    if not gaps:
        return
    shown = ", ".join(
        [*columns[:MAX_SHOWN], *([f"and {len(columns) - MAX_SHOWN} others"] * (len(columns) > MAX_SHOWN))]
    )
    raise ProtocolError(
        "\n".join(text for _, text in gaps),
        remedy="Add the columns to the file, name them in a mapping, or change the protocol. 'auscult protocol init "
        f"--predictions FILE' writes one that fits. The file has: {shown[:MAX_LISTED] or 'no columns'}.",
        file=file,
        column=gaps[0][0] if len(gaps) == 1 else None,
    )


Gap = tuple[str, str]
"""A column that is missing or of no use as it is, and why it is needed."""


def _attribute_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    for item in protocol.attributes:
        if item.column not in columns:
            yield item.column, f"The attribute '{item.name}' reads the column '{item.column}', which is missing."


def _label_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    drift_alone = set(protocol.suites) == {"drift"}
    for label in protocol.labels:
        name = label.name
        score, pred = f"score.{name}", f"pred.{name}"
        if drift_alone:
            # Labels come late, and nothing is decided by a threshold: what is missing is told as not watched.
            if not {score, pred} & columns:
                yield score, f"The label '{name}' is watched by '{score}' or '{pred}'; both are missing."
            continue
        if f"label.{name}" not in columns:
            yield f"label.{name}", f"The label '{name}' needs its reference 'label.{name}', which is missing."
        if pred in columns or (score in columns and label.threshold):
            continue
        if score in columns:
            yield score, f"The label '{name}' comes with '{score}', so the protocol must give it a threshold."
        else:
            yield pred, f"The label '{name}' needs '{pred}' or '{score}'; both are missing."


def _score_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    """Primary criteria on what is computed from scores, where there are decisions alone: they could never hold.

    Exploratory ones are let through; their verdicts say what is missing.
    """
    from evaluation.engine.registry import SUITES, Basis

    metrics = {name: info for key in protocol.suites for name, info in SUITES.get(key).metrics.items()}
    for item in protocol.criteria:
        if not item.primary or item.metric not in metrics or metrics[item.metric].basis is not Basis.SCORES:
            continue
        for name in protocol.label_names if "*" in item.labels else item.labels:
            if f"score.{name}" not in columns and f"pred.{name}" in columns:
                yield (
                    f"score.{name}",
                    f"The criterion '{item.id}' on '{item.metric}' needs 'score.{name}', which is missing.",
                )


def _other_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    if protocol.splits and "split" not in columns:
        judged = ", ".join(protocol.splits.audited)
        yield "split", f"The protocol judges the split {judged} only; the column 'split' is missing."


def _report_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    reports = protocol.reports
    if reports is None:
        return
    for name in ("text.reference", "text.generated"):
        if name not in columns:
            yield name, f"The protocol compares written reports; the column '{name}' is missing."
    if reports.prior and reports.prior not in columns:
        yield reports.prior, f"Whether there was an earlier study is told by '{reports.prior}', which is missing."
    for rule in reports.numbers:
        if (name := f"series.{rule.series}") not in columns:
            yield name, f"Numbers of '{rule.analyte}' are held against '{name}', which is missing."


def _drift_gaps(protocol: Protocol, columns: set[str], able: Collection[str]) -> Iterator[Gap]:
    """What the section names of the cohort and the model, and they lack."""
    drift = protocol.drift
    if drift is None:
        return
    for name in drift.columns:
        if name not in columns:
            yield name, f"'drift' watches the column '{name}', which is missing."
    for rule in drift.contradictions:
        if (name := f"series.{rule.series}") not in columns:
            yield name, f"'drift' holds '{rule.finding}' against '{name}', which is missing."
        if not {f"score.{rule.finding}", f"pred.{rule.finding}"} & columns:
            yield (
                f"score.{rule.finding}",
                f"'drift' holds '{rule.finding}' against a series; nothing says it.",
            )
    for name in drift.embed:
        own = name.startswith("text.") and drift.text_encoder != "model"
        if name not in columns and (name == "image" or "." in name):
            yield name, f"'drift' embeds '{name}', which is missing."
        elif not own and "embed" not in able:
            can = ", ".join(sorted(able)) or "nothing"
            yield name, f"'drift' asks the model for embeddings of '{name}'; it lacks 'embed' and has: {can}."


def _asking_gaps(protocol: Protocol, columns: set[str], able: Collection[str]) -> Iterator[Gap]:
    """What the model is asked, and cannot do; and findings whose truth the cohort does not tell."""
    wanted: dict[str, list[str]] = {"answer": ["probing"] if protocol.probing else [], "generate": []}
    for name in ("sampling", "perturbation"):
        if (section := getattr(protocol, name)) is not None:
            wanted["answer" if section.of == "answers" else "generate"].append(name)
    for capability, sections in wanted.items():
        if sections and capability not in able:
            can = ", ".join(sorted(able)) or "nothing"
            does = "answers" if capability == "answer" else "reports"
            yield (
                capability,
                f"'{', '.join(sections)}' asks the model for {does}; it lacks the capability '{capability}' and has: "
                f"{can}. Choose another model, or take the section out of the protocol.",
            )
    yield from _truth_gaps(protocol, columns)


def _truth_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    if protocol.probing is None:
        return
    from evaluation.engine.probing.truth import finding_in
    from evaluation.engine.text.pairing import vocabulary_for

    words = vocabulary_for(protocol)
    for name in protocol.probing.findings:
        if f"label.{name}" in columns or ("text.reference" in columns and finding_in(name, words)):
            continue
        yield (
            f"label.{name}",
            f"Questions about '{name}' need its truth: 'label.{name}', or 'text.reference' and a finding of the "
            "ontology; both are missing.",
        )
