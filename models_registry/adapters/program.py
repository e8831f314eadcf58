"""Running an exported graph operator by operator, without running anything that the file brings. Registers no adapter.

Only operators of a list are run: pure arithmetic on tensors, of which none opens a file, calls back into Python or
draws random numbers. Sizes that depend on the batch are computed by the graph's own nodes as whole numbers, so no
symbolic expression of the file is ever read.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from models_registry.adapters.archive import DTYPES, Archive, damaged

_NAMES = """
_log_softmax _native_batch_norm_legit_no_training _softmax _to_copy abs adaptive_avg_pool1d
adaptive_avg_pool2d adaptive_max_pool2d add add_ addcmul addmm alias all amax amin any arange argmax argmin
avg_pool1d avg_pool2d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm cat ceil celu channel_shuffle
chunk clamp clamp_ clamp_max clamp_min clone constant_pad_nd contiguous conv1d conv2d conv_transpose2d
convolution cos cumsum detach detach_ div div_ dropout dropout_ einsum elu elu_ embedding eq erf exp expand
expand_as feature_dropout flatten flip floor floor_divide full full_like gather ge gelu glu group_norm gt
hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ index index_select instance_norm layer_norm
le leaky_relu leaky_relu_ lift_fresh_copy linalg_vector_norm linear log log1p log_sigmoid log_softmax
logical_and logical_not logical_or lt masked_fill masked_fill_ matmul max max_pool1d max_pool2d
max_pool2d_with_indices maximum mean min minimum mish mm movedim mul mul_ narrow native_batch_norm
native_group_norm native_layer_norm ne neg new_full new_ones new_zeros numpy_T ones ones_like pad permute
pixel_shuffle pow prelu prod reciprocal relu relu6 relu6_ relu_ remainder repeat reshape reshape_as rms_norm
roll rsqrt rsub scalar_tensor scaled_dot_product_attention select selu sigmoid sigmoid_ sign silu silu_ sin
slice softmax softplus split split_with_sizes sqrt square squeeze stack std sub sub_ sum swapaxes t tanh tanh_
tile to transpose tril triu type_as unbind unflatten unfold unsqueeze upsample_bicubic2d upsample_bilinear2d
upsample_nearest2d var var_mean view view_as where zeros zeros_like
"""
OPERATORS = frozenset(_NAMES.split())
TALK = frozenset({"_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size"})
"""Nodes that assert what the exporter assumed. They compute nothing; a shape that does not fit fails by itself."""
ON_SIZES: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "eq", "ne", "ge", "gt", "le", "lt")
}
FORMATS = {1: "contiguous_format", 2: "channels_last", 4: "preserve_format"}
TRAINING = frozenset({"train", "training"})
PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")
LARGEST_BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the input: a size between ``least`` and ``most``; equal where the export fixed it."""

    least: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Program:
    """A checked graph: one picture tensor in, one tensor out.

    Attributes:
        sides: The four sides of the input: studies, channels, height, width.
        output_sides: Those of the output; None where a side depends on the input.
    """

    archive: Archive
    input_name: str
    output_name: str
    given: dict[str, str]
    sides: tuple[Side, ...]
    output_sides: tuple[int | None, ...]

    @classmethod
    def read(cls, archive: Archive) -> Program:
        """Check the graph without running it.

        Raises:
            AdapterError: an operator that is not on the list, training mode, several inputs or outputs, an input
                that is not a float32 tensor of rank 4.
        """
        try:
            return _program(archive)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            why = f"its graph cannot be read ({type(error).__name__}: {error})"
            raise damaged(archive.path, why) from error

    def loaded(self, device: str) -> Callable[[Any], Any]:
        """The program as a function from a tensor on ``device`` to a tensor."""
        tensors = self.archive.load(device)
        weights = {name: tensors[source] for name, source in self.given.items()}
        graph = self.archive.program["graph_module"]["graph"]["nodes"]
        nodes = [_Step(self.archive, node, device) for node in graph]
        spent = _last_uses(graph, keep={self.output_name, *weights})

        def run(pixels: Any) -> Any:
            values = weights | {self.input_name: pixels}
            before = [tensor._version for tensor in weights.values()]
            for node, names in zip(nodes, spent, strict=True):
                node(values)
                for name in names:
                    values.pop(name, None)
            if before != [tensor._version for tensor in weights.values()]:
                raise damaged(self.archive.path, "it changes its own weights while it runs", "Export model.eval().")
            return values[self.output_name]

        return run


def _last_uses(nodes: list[dict[str, Any]], *, keep: set[str]) -> list[list[str]]:
    """For each node the values that no later node reads. Given up at once, their memory serves the nodes after it."""
    last = {name: place for place, node in enumerate(nodes) for name in _names([node["inputs"], node["outputs"]])}
    spent: list[list[str]] = [[] for _ in nodes]
    for name, place in last.items():
        if name not in keep:
            spent[place].append(name)
    return spent


def _names(told: Any) -> Iterator[str]:
    """Names of the values that arguments or results speak of, however deep."""
    if isinstance(told, dict):
        yield from (told[key] for key in ("name", "as_name") if isinstance(told.get(key), str))
        told = list(told.values())
    if isinstance(told, list):
        for item in told:
            yield from _names(item)


class _Step:
    """One node, made ready: the operator is looked up once."""

    def __init__(self, archive: Archive, node: dict[str, Any], device: str) -> None:
        import torch

        self.node = node
        self.device = device
        self.silent = False
        target = node["target"]
        self.run = ON_SIZES.get(target)
        self.positional = self.run is not None
        if self.positional:
            return
        *_, name, overload = target.split(".")
        self.silent = name in TALK
        if not self.silent:
            self.run = getattr(getattr(torch.ops.aten, name, None), overload, None)
        if not self.silent and not isinstance(self.run, torch._ops.OpOverload):
            why = f"this torch has no operator {target}"
            raise damaged(archive.path, why, "Export it again with the torch that runs here.")

    def __call__(self, values: dict[str, Any]) -> None:
        if self.run is None:
            return
        given = {item["name"]: _argument(item["arg"], values, self.device) for item in self.node["inputs"]}
        found = self.run(*given.values()) if self.positional else self.run(**given)
        outputs = self.node["outputs"]
        for output, value in zip(outputs, [found] if len(outputs) == 1 else found, strict=False):
            _keep(output, value, values)


def _keep(output: dict[str, Any], value: Any, values: dict[str, Any]) -> None:
    ((kind, told),) = output.items()
    if kind == "as_tensor":
        values[told["name"]] = value
    elif kind == "as_tensors":
        values.update({item["name"]: part for item, part in zip(told, value, strict=True)})
    elif kind in {"as_sym_int", "as_sym_bool", "as_sym_float"} and "as_name" in told:
        values[told["as_name"]] = value
    elif kind != "as_none":
        raise ValueError(f"a result of the kind {kind}")


def _argument(argument: dict[str, Any], values: dict[str, Any], device: str) -> Any:
    """A node's argument: a literal, or the value of an earlier node."""
    import torch

    ((kind, told),) = argument.items()
    if kind in PLAIN:
        return told
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return values[told["name"]]
    if kind == "as_tensors":
        return [values[item["name"]] for item in told]
    if kind in {"as_sym_int", "as_sym_float", "as_sym_bool"}:
        return _size(told, values)
    if kind == "as_sym_ints":
        return [_size(item, values) for item in told]
    if kind == "as_optional_tensor":
        return _argument(told, values, device)
    if kind == "as_optional_tensors":
        return [_argument(item, values, device) for item in told]
    if kind == "as_scalar_type":
        return getattr(torch, DTYPES[told])
    if kind == "as_memory_format":
        return getattr(torch, FORMATS[told])
    if kind == "as_layout":
        return torch.strided
    if kind == "as_device":
        return torch.device(device)
    raise ValueError(f"an argument of the kind {kind}")


def _size(told: dict[str, Any], values: dict[str, Any]) -> Any:
    ((kind, value),) = told.items()
    return values[value] if kind == "as_name" else value


def _program(archive: Archive) -> Program:
    body = archive.program["graph_module"]
    graph, signature = body["graph"], body["signature"]
    for node in graph["nodes"]:
        _check_node(archive, node)
    inputs, given = [], {}
    for spec in signature["input_specs"]:
        ((kind, told),) = spec.items()
        if kind == "user_input":
            inputs.append(told["arg"])
            continue
        source = told.get(f"{kind}_name")
        if kind not in {"parameter", "buffer", "tensor_constant"} or source not in archive.tensors:
            raise damaged(archive.path, f"it wants {source or kind}, which is no tensor of the archive")
        given[told["arg"]["name"]] = source
    outputs = [next(iter(spec.items())) for spec in signature["output_specs"]]
    if len(inputs) != 1 or "as_tensor" not in inputs[0]:
        raise damaged(archive.path, f"it takes {len(inputs)} inputs", "Export a model whose only input is the picture.")
    if len(outputs) != 1 or outputs[0][0] != "user_output" or "as_tensor" not in outputs[0][1]["arg"]:
        kinds = ", ".join(kind for kind, _ in outputs)
        raise damaged(
            archive.path, f"it answers {kinds}", "Export model.eval() with one tensor of logits as its answer."
        )
    names = inputs[0]["as_tensor"]["name"], outputs[0][1]["arg"]["as_tensor"]["name"]
    return Program(
        archive=archive,
        input_name=names[0],
        output_name=names[1],
        given=given,
        sides=_sides(archive, graph["tensor_values"][names[0]]),
        output_sides=tuple(size.get("as_int") for size in graph["tensor_values"][names[1]]["sizes"]),
    )


def _check_node(archive: Archive, node: dict[str, Any]) -> None:
    target = node["target"]
    match = re.fullmatch(r"torch\.ops\.aten\.(\w+)\.\w+", target)
    name = match[1] if match else ""
    sizes = name == "sym_size" or target in ON_SIZES
    if not sizes and name not in OPERATORS and name not in TALK:
        raise damaged(
            archive.path,
            f"the operator {target} is not on the list of those that are run",
            "Export model.eval() without custom operators, control flow or torch.no_grad inside; "
            "program.run_decompositions() may replace it.",
        )
    for item in node["inputs"]:
        drops = item["name"] == "dropout_p" and item["arg"].get("as_float", 1) != 0
        if drops or (item["name"] in TRAINING and item["arg"].get("as_bool") is not False):
            raise damaged(archive.path, f"{target} is in training mode", "Export model.eval().")


def _sides(archive: Archive, meta: dict[str, Any]) -> tuple[Side, ...]:
    if DTYPES.get(meta["dtype"]) != "float32" or len(meta["sizes"]) != 4:
        raise damaged(archive.path, "its input is not a float32 tensor [studies, channels, height, width]",
                      "Export a model that takes such a tensor.")  # fmt: skip
    ranges = archive.program.get("range_constraints", {})
    found = []
    for size in meta["sizes"]:
        if "as_int" in size:
            found.append(Side(least=size["as_int"], most=size["as_int"]))
            continue
        match = re.match(r"(?:Symbol\(')?(\w+)(?:'[^()]*\))?$", size["as_expr"]["expr_str"])
        bounds = ranges.get(match[1]) if match else None
        if bounds is None:
            raise damaged(archive.path, "a side of its input is bound to another", "Use a plain torch.export.Dim.")
        least, most = bounds.get("min_val"), bounds.get("max_val")
        found.append(Side(least=max(1, least or 1), most=min(most or LARGEST_BATCH, LARGEST_BATCH)))
    return tuple(found)
