"""From a wish for patients to demands on columns; what was never learnt is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import AuscultError
from synthetic.generators.kinds.tables_columns import Variable
from synthetic.generators.kinds.tables_drawing import Demands
from synthetic.generators.kinds.tables_model import Model
from synthetic.generators.kinds.tables_plans import part_name
from synthetic.generators.parts import Wish
from synthetic.generators.plans import NONE, PARTS, PRESENT, UNKNOWN

Span = tuple[float, float]
ENDLESS = float("inf")


def demands_of(wish: Wish, model: Model, left_out: Mapping[str, str]) -> Demands:
    """What a wish demands of each column.

    A word of a plan asks for exactly that plan where it was learnt, such as ``left``; else for all plans that tell it,
    such as ``left small`` and ``left large``.

    Raises:
        AuscultError: an attribute, value, number or plan was never learnt, or bounds exclude one another.
    """
    if wish.patients < 1:
        raise AuscultError(f"{wish.patients} patients are asked for.", remedy="Ask for at least one.")
    patient: dict[str, int | Span] = {}
    study: dict[str, int | Span] = {}
    entries = {entry["name"]: entry for entry in model.layout["attributes"]}
    for name in sorted({*wish.attributes, *wish.least, *wish.most}):
        if name not in entries:
            raise _never(f"The attribute '{name}' was", name, sorted(entries), left_out.get(name))
        least, most = wish.least.get(name, -ENDLESS), wish.most.get(name, ENDLESS)
        _demand(model, entries[name], wish.attributes, (least, most), patient, study)
    plans = tuple(_plan(model, name, word, left_out) for name, word in sorted(wish.findings.items()))
    return Demands(patient=patient, study=study, plans=plans)


def _demand(
    model: Model, entry: Mapping[str, Any], attributes: Mapping[str, Any], span: Span,
    patient: dict[str, int | Span], study: dict[str, int | Span],
) -> None:  # fmt: skip
    name = str(entry["name"])
    variables = {item.variable.name: item.variable for item in model.patient + model.study}
    of_patients = {item.variable.name for item in model.patient}
    key = f":start {name}" if entry["how"] in ("clock", "steps") else name
    if (there := variables.get(f"{name}?")) is not None:
        (patient if there.name in of_patients else study)[there.name] = there.values.index("there")
    least, most = span
    if name in attributes:
        wanted = attributes[name]
        if key not in variables:
            if model.layout["fixed"][name] != wanted:
                raise _value(name, wanted, [model.layout["fixed"][name]])
        elif variables[key].numbers is None or variables[key].ranked:
            into = patient if key in of_patients else study
            into[key] = _place(variables[key], wanted)
        elif isinstance(wanted, int | float):
            least, most = max(least, float(wanted)), min(most, float(wanted))
        else:
            raise _value(name, wanted, list(_bounds(variables[key])))
    if (least, most) != (-ENDLESS, ENDLESS):
        (patient if key in of_patients else study)[key] = _span(name, variables.get(key), model, entry, (least, most))


def _place(variable: Variable, wanted: Any) -> int | Span:
    known = variable.ranked or variable.values
    matching = [
        place for place, value in enumerate(known)
        if value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
    ]  # fmt: skip
    if not matching:
        raise _value(variable.name, wanted, list(known))
    if variable.ranked and variable.numbers is not None:
        return variable.numbers.span(matching[0], matching[0])
    return matching[0]


def _span(name: str, variable: Variable | None, model: Model, entry: Mapping[str, Any], span: Span) -> Span:
    """Scores of a number that lies between bounds. Of a number that rises, the start lies below the upper bound."""
    least, most = span
    if least > most:
        raise AuscultError(
            f"No '{name}' is at least {least:g} and at most {most:g}.", remedy="Change one of them.", column=name
        )
    if variable is None or variable.numbers is None or variable.ranked:
        raise AuscultError(
            f"'{name}' has no bounds: it was not learnt as a number.", remedy="Name one of its values.", column=name
        )
    low, high = _bounds(variable)
    rises = entry["how"] in ("clock", "steps")
    if most < low or (least > high and not rises):
        raise AuscultError(
            f"No '{name}' between {least:g} and {most:g} was learnt.",
            remedy=f"Ask for numbers from {low:g} to {high:g}.",
            column=name,
        )
    found = variable.numbers.span(least, most)
    if found[0] >= found[1]:
        raise AuscultError(
            f"No '{name}' between {least:g} and {most:g} was learnt.", remedy="Widen the bounds.", column=name
        )
    return found


def _bounds(variable: Variable) -> Span:
    assert variable.numbers is not None
    return variable.numbers.bounds


def _plan(
    model: Model, name: str, word: str, left_out: Mapping[str, str]
) -> tuple[Sequence[Mapping[str, int]], Sequence[float]]:
    plans = model.layout["plans"]
    if name not in plans or not plans[name]["known"]:
        known = sorted(finding for finding, body in plans.items() if body["known"])
        raise _never(f"The finding '{name}' was", name, known, left_out.get(name))
    key = f":plan {name}"
    variables = {item.variable.name: item.variable for item in (*model.patient, *model.study)}
    states = {0: NONE, 1: PRESENT, -1: UNKNOWN}
    learnt = variables[key].values if key in variables else (model.layout["fixed"][key],)
    words: dict[str, float] = plans[name]["words"]
    state = {NONE: 0, UNKNOWN: -1}.get(word, 1)
    matching = (
        [word] if word in words or state != 1 else [one for one in words if set(word.split()) <= set(one.split())]
    )
    if state not in learnt or (state == 1 and word != PRESENT and not matching):
        known = sorted({states[int(code)] for code in learnt} | (set(words) if 1 in learnt else set()))
        raise _value(name, word, known)
    present = {key: variables[key].values.index(state)} if key in variables else {}
    if state != 1 or word == PRESENT:
        return ([present], [1.0])
    return [present | _parts(name, one, variables) for one in matching], [words[one] for one in matching]


def _parts(finding: str, word: str, variables: Mapping[str, Variable]) -> dict[str, int]:
    """Places of side, zone and size that a word tells; what it does not tell is untold."""
    found = {}
    for part, names in PARTS.items():
        key = part_name(part, finding)
        if key in variables:
            told = next((names.index(one) for one in word.split() if one in names), -1)
            found[key] = variables[key].values.index(told)
    return found


def _never(what: str, name: str, known: Sequence[str], reason: str | None) -> AuscultError:
    why = f": {reason}" if reason else ""
    return AuscultError(
        f"{what} never learnt{why}.", remedy=f"Ask for one of: {', '.join(known) or 'none'}.", column=name
    )


def _value(name: str, wanted: Any, known: Sequence[Any]) -> AuscultError:
    return AuscultError(
        f"'{name}' was never learnt to be {wanted!r}.",
        remedy=f"Ask for one of: {', '.join(map(str, known))}.",
        column=name,
    )
