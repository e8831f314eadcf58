"""A model out of a run in MLflow's file store: its artifacts are copied, nothing of it is run, no server is asked."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from core.copying import copy_file
from core.digests import Tally, walk_files
from core.errors import AdapterError, AuscultError, EnvironmentProblemError
from core.store import check_plain, check_room
from models_registry.intake.names import Names, plain_name
from models_registry.intake.plain_yaml import read_plain_yaml

DESCRIPTION = "MLmodel"
RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOST_FACTS = 200
LONGEST_FACT = 300
BESIDE = frozenset({"auscult.json", "readme.md", "license", "license.txt", "license.md", "notice", "notice.txt"})
"""Files that are taken along when they stand beside a model that MLflow laid out."""

LOG_FILES = (
    "Save the model's own files and log those: model.save_pretrained(FOLDER) writes safetensors, then "
    "mlflow.log_artifacts(FOLDER, 'model')."
)


def gather_run(tracking: Path, *, run: str, destination: Path) -> dict[str, Any]:
    """Copy the model of a run into a new folder, laid out as its adapter reads it, and tell what MLflow says of it.

    Taken are: files that were logged as they are; MLflow's ``transformers`` layout (``model/`` and ``components/*/``
    become one folder); its ``onnx`` layout. Where a run holds several models the reference must say which.

    Args:
        tracking: The tracking folder (``mlruns``). Nothing is written to it.
        run: The run's identifier, or ``runs:/<identifier>/<path of the model among its artifacts>``.

    Returns:
        ``run_id``, ``run_name``, ``experiment``, ``status``, ``artifact``, ``params``, ``metrics``, ``tags``.

    Raises:
        AdapterError: no such folder, run or model; several; a flavour whose weights are pickles; artifacts that lie
            elsewhere.
        EnvironmentProblemError: MLflow is not installed, or the disk has no room.
    """
    identifier, wanted = _parse(run)
    facts, homes = _read_run(tracking, identifier)
    artifact, folder = _choose(homes, wanted)
    try:
        check_plain(folder)
    except AuscultError as error:
        raise AdapterError(error.message, remedy=error.remedy, file=error.file) from error
    destination.mkdir(parents=True, mode=0o700)
    check_room(destination, sum(path.stat().st_size for path in walk_files(folder)))
    taken: dict[str, str] = {}
    names = Names()
    for source, name in _files(folder):
        target = destination / plain_name(name)
        if name in taken:  # a processor and a tokenizer may both bring the same file
            if copy_file(source, target.with_name(f"{target.name}.again"), Tally(total=0)) != taken[name]:
                raise AdapterError(
                    "Two parts of the model bring different files of this name.", remedy=LOG_FILES, file=name
                )
            target.with_name(f"{target.name}.again").unlink()
            continue
        names.add(name)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken[name] = copy_file(source, target, Tally(total=0))
    return facts | {"artifact": artifact}


def _parse(run: str) -> tuple[str, str]:
    identifier, _, path = run.strip().removeprefix("runs:/").strip("/").partition("/")
    if not RUN.fullmatch(identifier):
        raise AdapterError(
            f"{run.strip()[:80]!r} is no run of MLflow.",
            remedy="Give the run's identifier, or runs:/IDENTIFIER/PATH with the path of the model.",
        )
    return identifier, plain_name(path) if path else ""


def _read_run(tracking: Path, identifier: str) -> tuple[dict[str, Any], dict[str, Path]]:
    """What MLflow says of a run, and the folders its artifacts and models lie in, by their path in the run."""
    if not any(tracking.glob("*/meta.yaml")):
        raise AdapterError(
            "The folder is no tracking folder of MLflow: it holds no experiment.",
            remedy="Give the folder that MLflow calls mlruns. Export a database's run with: mlflow artifacts download.",
            file=str(tracking),
        )
    client_class, failure = _mlflow()
    with tempfile.TemporaryDirectory(prefix="mlflow-") as shadow:
        # MLflow makes folders in whatever it opens; it is shown links, so that the hospital's folder stays as it is.
        for entry in tracking.iterdir():
            if entry.is_dir() and entry.name != ".trash":
                (Path(shadow) / entry.name).symlink_to(entry.resolve())
        client = client_class(tracking_uri=Path(shadow).as_uri())
        try:
            found = client.get_run(identifier)
            experiment = client.get_experiment(found.info.experiment_id).name
            models = [client.get_logged_model(item.model_id) for item in _outputs(found)]
        except failure as error:
            raise AdapterError(
                f"MLflow cannot read the run {identifier}: {str(error).splitlines()[0]}",
                remedy="Check the identifier and the folder; a deleted run must be restored first.",
            ) from error
    facts = {
        "run_id": identifier,
        "run_name": str(found.info.run_name or "")[:LONGEST_FACT],
        "experiment": str(experiment)[:LONGEST_FACT],
        "status": str(found.info.status),
        **{name: _told(getattr(found.data, name)) for name in ("params", "metrics", "tags")},
    }
    home = tracking / found.info.experiment_id
    homes = {"": _inside(tracking, home / identifier / "artifacts", found.info.artifact_uri)}
    for model in models:
        own = home / "models" / model.model_id / "artifacts"
        homes[str(model.name)] = _inside(tracking, own, model.artifact_location)
    return facts, homes


def _mlflow() -> tuple[Any, type[Exception]]:
    """MLflow's client and its error, with everything off that would leave the machine."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise EnvironmentProblemError(
            "MLflow is not installed beside Auscult.", remedy="Install it: pip install 'auscult[mlflow]'."
        ) from error
    return MlflowClient, MlflowException


def _outputs(run: Any) -> list[Any]:
    return list(getattr(getattr(run, "outputs", None), "model_outputs", None) or [])


def _told(values: dict[str, Any]) -> dict[str, str]:
    """Parameters, metrics or tags, as texts of a bounded length."""
    return {str(name)[:LONGEST_FACT]: str(values[name])[:LONGEST_FACT] for name in sorted(values)[:MOST_FACTS]}


def _inside(tracking: Path, usual: Path, uri: str) -> Path:
    """The folder of artifacts: the usual one where there is something in it, else what the run says."""
    place, parts = usual, urlsplit(uri)
    if not (usual.is_dir() and any(usual.iterdir())):
        if parts.scheme not in {"", "file"}:
            raise AdapterError(
                f"The run's artifacts lie at {parts.scheme}://, which is not fetched.",
                remedy="Download them (mlflow artifacts download) and register that folder.",
            )
        said = Path(unquote(parts.path))
        place = said if said.is_dir() and any(said.iterdir()) else usual
    if not place.resolve().is_relative_to(tracking.resolve()):
        raise AdapterError(
            "The run's artifacts lie outside its tracking folder.",
            remedy="Register the folder with the artifacts instead.",
            file=str(place),
        )
    return place


def _choose(homes: dict[str, Path], wanted: str) -> tuple[str, Path]:
    """The folder of the model that is meant: the one that was named, else the only one there is."""
    if wanted:
        name, _, rest = wanted.partition("/")
        candidates = [homes[""] / wanted, *([homes[name] / rest] if name in homes else [])]
        found = [folder for folder in candidates if folder.is_dir()]
        if not found:
            raise AdapterError(
                f"The run has no folder {wanted} among its artifacts.",
                remedy=f"It has: {', '.join(_models(homes)) or 'none that looks like a model'}.",
            )
        return wanted, found[0]
    models = _models(homes)
    if len(models) != 1:
        raise AdapterError(
            f"The run holds {len(models)} models{': ' if models else ''}{', '.join(models)}.",
            remedy="Say which: runs:/IDENTIFIER/PATH." if models else f"Log one. {LOG_FILES}",
        )
    return next(iter(models.items()))


def _models(homes: dict[str, Path]) -> dict[str, Path]:
    """Folders that look like a model: MLflow's own, and those with a configuration or a prediction log at their top."""
    marks = (DESCRIPTION, "config.json", "auscult.json", "predictions.parquet", "predictions.csv")
    found: dict[str, Path] = {}
    for name, home in homes.items():
        if not home.is_dir():
            continue
        tops = {path.parent for mark in marks for path in home.rglob(mark)}
        for top in sorted(tops):
            if not any(other != top and top.is_relative_to(other) for other in tops):
                path = "/".join(part for part in (name, top.relative_to(home).as_posix()) if part not in {"", "."})
                found[path or "."] = top
    return found


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of the model, and where each belongs in the folder that is registered."""
    if not (folder / DESCRIPTION).is_file():
        yield from ((path, path.relative_to(folder).as_posix()) for path in walk_files(folder))
        return
    flavours = _flavours(folder)
    if "transformers" in flavours:
        yield from _transformers(folder, flavours["transformers"])
    elif "onnx" in flavours:
        data = folder / PurePosixPath(str(flavours["onnx"].get("data", "model.onnx"))).name
        parts = (
            walk_files(data) if data.is_dir() else [path for path in [data, *folder.glob("*.data")] if path.is_file()]
        )
        yield from ((path, path.name) for path in parts)
    else:
        names = ", ".join(sorted(set(flavours) - {"python_function"})) or "python_function"
        raise AdapterError(
            f"MLflow keeps a model of the flavour {names} as a pickle: reading one runs whatever code it holds.",
            remedy=LOG_FILES,
            file=DESCRIPTION,
        )
    yield from ((path, path.name) for path in sorted(folder.iterdir()) if path.name.lower() in BESIDE)


def _transformers(folder: Path, flavour: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    home = folder / PurePosixPath(str(flavour.get("model_binary", "model"))).name
    if not home.is_dir() or (folder / "peft").is_dir():
        what = "an adapter (LoRA) of a base model" if (folder / "peft").is_dir() else "the name of a model elsewhere"
        raise AdapterError(
            f"The run holds {what}, not the whole model.",
            remedy="Merge the adapter, or log with save_pretrained=True; nothing is downloaded here.",
            file=DESCRIPTION,
        )
    for part in (home, *sorted((folder / "components").glob("*"))):
        yield from ((path, path.relative_to(part).as_posix()) for path in walk_files(part))
    if (folder / "model_card.md").is_file() and not (folder / "README.md").is_file():
        yield folder / "model_card.md", "README.md"


def _flavours(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        body = read_plain_yaml((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise AdapterError(
            f"MLmodel cannot be read: {error}.", remedy="Log the model again.", file=DESCRIPTION
        ) from error
    flavours = body.get("flavors") if isinstance(body, dict) else None
    if not isinstance(flavours, dict) or not flavours:
        raise AdapterError("MLmodel names no flavour.", remedy="Log the model again.", file=DESCRIPTION)
    return {str(name): value if isinstance(value, dict) else {} for name, value in flavours.items()}
