"""Image classifiers in ONNX: ``model.onnx`` beside ``auscult.json``, run by onnxruntime. Needs the extra ``onnx``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import AdapterError, EnvironmentProblemError
from models_registry.adapters.base import ADAPTERS, AdapterInfo, InferenceSettings
from models_registry.adapters.classifier import (
    ClassifierWishes,
    ImageClassifier,
    Run,
    check_folder,
    check_precision,
)
from models_registry.adapters.pixels import Floats32
from models_registry.adapters.program import LARGEST_BATCH, Side

MODEL = "model.onnx"
DOMAINS = frozenset({"", "ai.onnx"})
RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
LARGEST_SIDE = 1 << 16
EXPORT_AGAIN = "Export it again, from a model in evaluation mode, with standard operators only."

NO_MEMORY = ("failed to allocate memory", "bad allocation", "bad_alloc", "out of memory")
"""How onnxruntime says that a batch is too large for the device."""


class OnnxFactory:
    """Checks and loads ONNX classifiers."""

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the model and its wishes declare. The file is parsed and checked, and nothing of it is run.

        Raises:
            AdapterError: not an ONNX model, operators that are not standard or random, external data out of the
                folder or missing, a signature that does not fit the wishes.
            EnvironmentProblemError: the extra ``onnx`` is not installed.
        """
        return _read(folder)[1]

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> ImageClassifier:
        wishes, info, studies = _read(folder)
        check_precision(settings)
        return ImageClassifier(
            info=info, wishes=wishes, run=_session(folder / MODEL, device), studies=studies, batch=settings.batch_size
        )


ADAPTERS.register("onnx")(OnnxFactory())


def _read(folder: Path) -> tuple[ClassifierWishes, AdapterInfo, Side]:
    wishes = ClassifierWishes.read(folder)
    path = folder / MODEL
    if not path.is_file():
        raise AdapterError(f"{MODEL} is missing.", remedy="Save the model under this name.", file=MODEL)
    model = _parse(path)
    outside = _external_files(folder, model)
    check_folder(folder, lambda name: name == MODEL or name in outside)
    _check_operators(model)
    _check_whole(path)
    sides, output_sides = _signature(model)
    wishes.check_shapes(MODEL, sides, output_sides)
    sizes = [_count(list(tensor.dims)) for tensor in model.graph.initializer]
    info = wishes.info(
        architecture=f"ONNX graph, {len(model.graph.node)} nodes",
        parameters=sum(sizes),
        exported_with=f"{model.producer_name} {model.producer_version}"[:60].strip(),
    )
    return wishes, info, sides[0]


def _parse(path: Path) -> Any:
    onnx = _module("onnx")
    decode_error: type[Exception] = _module("google.protobuf.message").DecodeError
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (decode_error, OSError, ValueError) as error:
        raise _refused(f"it cannot be parsed ({type(error).__name__})") from error
    if not model.graph.node:
        raise _refused("it holds no graph")
    return model


def _check_whole(path: Path) -> None:
    """Have ONNX check the model: operators and their versions, types, the graph's order."""
    onnx = _module("onnx")
    try:
        onnx.checker.check_model(str(path))
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise _refused(_first_line(error, path)) from error


def _check_operators(model: Any) -> None:
    for message in _messages(model):
        if message.DESCRIPTOR.name != "NodeProto":
            continue
        if message.domain not in DOMAINS:
            raise _refused(f"the operator {message.op_type} is of the domain {message.domain}")
        if message.op_type in RANDOM:
            raise _refused(f"the operator {message.op_type} draws random numbers")


def _external_files(folder: Path, model: Any) -> set[str]:
    """The files beside the model that hold tensors, each checked to lie in the folder and to hold all its bytes."""
    found = set()
    for message in _messages(model):
        if message.DESCRIPTOR.name != "TensorProto" or message.data_location != message.EXTERNAL:
            continue
        told = {entry.key: entry.value for entry in message.external_data}
        name = told.get("location", "")
        parts = PurePosixPath(name).parts
        # A link is no file of the folder either: it would bring in what no digest covers.
        inside = (
            bool(parts) and not {"..", "/"} & set(parts) and "\\" not in name and ":" not in name and "\0" not in name
        )
        path = folder / name
        if not inside or path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
            raise AdapterError(
                f"The tensor {message.name} is said to lie in {name!r}, out of the model's folder.",
                remedy="Save external data beside the model, under a plain name.",
                file=MODEL,
            )
        size = path.stat().st_size if path.is_file() else -1
        begin, length = (_number(told.get(key, "0")) for key in ("offset", "length"))
        if size < 0 or begin + length > size:
            raise AdapterError(
                f"The tensor {message.name} is not whole: its bytes in {name} are missing.",
                remedy="Register the model with all of its external data files.",
                file=name,
            )
        found.add(PurePosixPath(name).as_posix())
    return found


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all that lie in it: graphs in attributes, functions, sparse tensors."""
    yield message
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for item in value if not hasattr(value, "ListFields") else [value]:
            yield from _messages(item)


def _signature(model: Any) -> tuple[tuple[Side, ...], tuple[int | None, ...]]:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise _refused(f"it takes {len(inputs)} inputs and answers {len(graph.output)} outputs, and not one of each")
    kinds = {"input": inputs[0].type.tensor_type, "output": graph.output[0].type.tensor_type}
    for name, kind in kinds.items():
        if kind.elem_type != 1:
            raise _refused(f"its {name} is not a float32 tensor")
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kinds["input"].shape.dim]
    if len(sizes) != 4:
        raise _refused(f"its input has {len(sizes)} sides, and not [studies, channels, height, width]")
    most = [LARGEST_BATCH, *[LARGEST_SIDE] * 3]
    sides = tuple(Side(least=size or 1, most=size or limit) for size, limit in zip(sizes, most, strict=True))
    answers = [dim.dim_value if dim.HasField("dim_value") else None for dim in kinds["output"].shape.dim]
    return sides, tuple(answers)


def _session(path: Path, device: str) -> Run:
    """The model as a function. External data is read from beside the file, which is why it is loaded by its path."""
    runtime = _module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    provider: Any = "CPUExecutionProvider"
    if device.startswith("cuda"):
        provider = ("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)})
        if "CUDAExecutionProvider" not in runtime.get_available_providers():
            raise AdapterError(
                "This onnxruntime runs on no CUDA device.",
                remedy="Install onnxruntime-gpu on this worker, or set AUSCULT_DEVICE=cpu.",
            )
    errors: tuple[type[Exception], ...] = (*_runtime_errors(runtime), RuntimeError, ValueError)
    try:
        session = runtime.InferenceSession(str(path), options, providers=[provider])
    except errors as error:
        raise _refused(f"onnxruntime cannot load it ({_first_line(error, path)})") from error
    name = next(item.name for item in session.get_inputs())

    def classify(pixels: Floats32) -> Any:
        try:
            return session.run(None, {name: pixels})[0]
        except errors as error:
            raise _refused(
                f"it failed on pictures of the shape {list(pixels.shape)} ({_first_line(error, path)})"
            ) from _cause(error)

    return classify


def _cause(error: Exception) -> Exception:
    """What lies behind it: the worker tries a smaller batch where that is a lack of memory, which has no type here."""
    lacking = any(words in str(error).lower() for words in NO_MEMORY)
    return MemoryError(str(error)) if lacking else error


def _runtime_errors(runtime: Any) -> tuple[type[Exception], ...]:
    """onnxruntime raises errors of its own, which are no RuntimeError."""
    members = vars(runtime.capi.onnxruntime_pybind11_state).values()
    return tuple(member for member in members if isinstance(member, type) and issubclass(member, Exception))


def _module(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EnvironmentProblemError(
            f"The package {name} is not installed.", remedy="Install Auscult with its extra: pip install auscult[onnx]."
        ) from error


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _refused("the place of its external data is no number")
    return int(text)


def _count(dims: list[int]) -> int:
    count = 1
    for size in dims:
        count *= size
    return count


def _first_line(error: Exception, path: Path) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].replace(str(path), path.name).replace(str(path.parent), "")[:300]


def _refused(why: str) -> AdapterError:
    return AdapterError(f"{MODEL} is no model that can be run: {why}.", remedy=EXPORT_AGAIN, file=MODEL)
