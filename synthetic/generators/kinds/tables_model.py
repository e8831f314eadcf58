"""What was learnt of the tables of a cohort: groups, effects, latents; how it is learnt, and kept in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.tables_columns import Column, Variable
from synthetic.generators.kinds.tables_copula import Latents, fit_moments, latent_correlations
from synthetic.generators.kinds.tables_effects import Effects, Groups, learn_effects
from synthetic.generators.kinds.tables_marginals import Numbers
from synthetic.generators.kinds.tables_reading import Read

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FIRST = ":first"
WEIGHTS, BODY = "tables.safetensors", "tables.json"
SCHEMA = "auscult/tables/1"


@dataclass(frozen=True, kw_only=True)
class Model:
    """The tables of a cohort.

    Attributes:
        patient, study: What was learnt of each column, in the order in which they are drawn. Columns of patients that
            form no group come last.
        groups: That patients form, and whether a study is the first.
        latents: Of the columns of studies, all after one another.
        layout: How studies are put together again.
    """

    patient: tuple[Effects, ...]
    study: tuple[Effects, ...]
    groups: Groups
    latents: Latents
    layout: dict[str, Any]

    def places(self) -> dict[str, slice]:
        """Column of a study -> its latents."""
        found, start = {}, 0
        for item in self.study:
            found[item.variable.name] = slice(start, start + item.variable.latents)
            start += item.variable.latents
        return found

    def sizes(self) -> dict[str, int]:
        """Choice -> number of its values."""
        return {item.variable.name: len(item.variable.values) for item in (*self.patient, *self.study)}

    def forming(self) -> int:
        """How many columns of patients form groups: the first ones."""
        return len(self.groups.names) - 1


def within_of(variable: Variable, seen: Mapping[str, Floats], sizes: Mapping[str, int]) -> tuple[Ints, int] | None:
    """Which of the values of other columns each row is told within, and how many there are; -1 where not told."""
    if not variable.within:
        return None
    kinds, place = 1, None
    for name in variable.within:
        code = seen[name].astype(np.int64)
        place = code if place is None else np.where((code < 0) | (place < 0), -1, place * sizes[name] + code)
        kinds *= sizes[name]
    assert place is not None
    return place, kinds


def learn_model(read: Read, tell: Callable[[float, str], None]) -> tuple[Model, dict[str, Any]]:
    """Learn everything; facts besides."""
    groups, places = _groups(read)
    first = read.before < 0
    patient = [
        learn_effects(column, places[:, :number], groups)[0] for number, column in enumerate(read.patient)
    ]  # fmt: skip
    steady, own = _seen(read.steady)
    for column in read.steady:
        patient.append(learn_effects(column, places, groups, within=within_of(column.variable, steady, own))[0])
    tell(0.3, f"{len(patient)} columns of patients")
    of_studies = np.concatenate([places[read.owner], (groups.starts[-2] + first.astype(np.int64))[:, None]], axis=1)
    seen, sizes = _seen(read.study)
    seen |= {name: values[read.owner] for name, values in steady.items()}
    study, scores, offsets = [], [np.empty((len(first), 0))], [np.empty((len(first), 0))]
    for column in read.study:
        effects, score, offset = learn_effects(
            column, of_studies, groups, within=within_of(column.variable, seen, sizes | own)
        )  # fmt: skip
        study.append(effects)
        scores.append(score)
        offsets.append(offset)
    tell(0.6, f"{len(study)} columns of studies")
    latents, changed = _latents(read, study, np.concatenate(scores, axis=1), np.concatenate(offsets, axis=1))
    tell(1.0, "correlations between columns and studies")
    model = Model(patient=tuple(patient), study=tuple(study), groups=groups, latents=latents, layout=read.layout)
    facts = {"columns": {"patients": len(patient), "studies": len(study)}, "latents": len(latents.within)}
    return model, facts | {"correlation_changed_at_most": round(changed, 4)}


def _seen(columns: Sequence[Column]) -> tuple[dict[str, Floats], dict[str, int]]:
    """What was seen of each column, and how many values it has."""
    names = [column.variable.name for column in columns]
    return dict(zip(names, (column.seen for column in columns), strict=True)), {
        column.variable.name: len(column.variable.values) for column in columns
    }


def _groups(read: Read) -> tuple[Groups, Ints]:
    variables = [column.variable for column in read.patient]
    cuts = [item.numbers.cuts() if item.numbers is not None else np.empty(0) for item in variables]
    sizes = [
        len(cut) + 2 if item.numbers is not None else len(item.values)
        for item, cut in zip(variables, cuts, strict=True)
    ]
    groups = Groups(
        names=(*(item.name for item in variables), FIRST), cuts=(*cuts, np.empty(0)), sizes=(*sizes, 2)
    )  # fmt: skip
    count = int((read.before < 0).sum())
    places = [groups.place(number, column.seen) for number, column in enumerate(read.patient)]
    return groups, np.stack(places, axis=1) if places else np.empty((count, 0), dtype=np.int64)


def _latents(read: Read, study: Sequence[Effects], scores: Floats, offsets: Floats) -> tuple[Latents, float]:
    d = scores.shape[1]
    if d == 0:
        return Latents(within=np.empty((0, 0)), step=np.empty((0, 0))), 0.0
    names = [item.variable.name for item in study for _ in range(item.variable.latents)]
    above = {item.variable.name: _above(item.variable) for item in study}
    apart = np.array([[one == two or two in above[one] or one in above[two] for two in names] for one in names])
    sight = np.array([item.sight if item.variable.numbers is not None else np.nan for item in study for _ in
                      range(item.variable.latents)])  # fmt: skip
    moments = fit_moments(scores, read.before)
    return latent_correlations(moments, scores, read.before, offsets, sight, apart)


def _above(variable: Variable) -> set[str]:
    return set(variable.within) | ({variable.given[0]} if variable.given else set())


def save_model(model: Model, folder: Path, facts: Mapping[str, Any]) -> None:
    """Safetensors and JSON; no row of a patient is in them."""
    from safetensors.numpy import save_file

    arrays: dict[str, Floats] = {"latents.within": model.latents.within, "latents.step": model.latents.step}
    for role, items in (("patient", model.patient), ("study", model.study)):
        for number, item in enumerate(items):
            arrays[f"{role}.{number:03d}.base"], arrays[f"{role}.{number:03d}.moves"] = item.base, item.moves
            if item.variable.numbers is not None:
                arrays[f"{role}.{number:03d}.values"] = item.variable.numbers.values
                arrays[f"{role}.{number:03d}.ends"] = item.variable.numbers.ends
    for number, cut in enumerate(model.groups.cuts):
        arrays[f"groups.{number:03d}"] = cut
    save_file({name: np.ascontiguousarray(arrays[name], dtype=np.float64) for name in sorted(arrays)}, folder / WEIGHTS)
    body = {
        "schema": SCHEMA,
        "facts": dict(facts),
        "layout": model.layout,
        "groups": {"names": list(model.groups.names), "sizes": list(model.groups.sizes)},
        "patient": [_body(item) for item in model.patient],
        "study": [_body(item) for item in model.study],
    }
    (folder / BODY).write_text(json.dumps(body, sort_keys=True, indent=1, ensure_ascii=False) + "\n")


def _body(item: Effects) -> dict[str, Any]:
    return item.variable.to_dict() | {"scale": item.scale, "sight": item.sight}


def load_model(folder: Path) -> tuple[Model, dict[str, Any]]:
    """What :func:`save_model` wrote, with its facts."""
    from safetensors.numpy import load_file

    body, arrays = json.loads((folder / BODY).read_text()), load_file(folder / WEIGHTS)
    names, sizes = tuple(body["groups"]["names"]), tuple(body["groups"]["sizes"])
    model = Model(
        patient=tuple(_loaded(item, arrays, f"patient.{n:03d}") for n, item in enumerate(body["patient"])),
        study=tuple(_loaded(item, arrays, f"study.{n:03d}") for n, item in enumerate(body["study"])),
        groups=Groups(names=names, sizes=sizes, cuts=tuple(arrays[f"groups.{n:03d}"] for n in range(len(names)))),
        latents=Latents(within=arrays["latents.within"], step=arrays["latents.step"]),
        layout=body["layout"],
    )
    return model, body["facts"]


def _loaded(body: Mapping[str, Any], arrays: Mapping[str, Floats], key: str) -> Effects:
    numbers = None
    if body["numbers"] is not None:
        numbers = Numbers(values=arrays[f"{key}.values"], ends=arrays[f"{key}.ends"], **body["numbers"])
    variable = Variable(
        name=body["name"], values=tuple(body["values"]), ranked=tuple(body["ranked"]), numbers=numbers,
        given=(body["given"][0], int(body["given"][1])) if body["given"] else None, within=tuple(body["within"]),
    )  # fmt: skip
    return Effects(
        variable=variable, base=arrays[f"{key}.base"], moves=arrays[f"{key}.moves"], scale=body["scale"],
        sight=body["sight"],
    )  # fmt: skip
