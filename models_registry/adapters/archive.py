"""Reading a ``.pt2`` archive of ``torch.export.save`` as data. Registers no adapter.

``torch.export.load`` is not used: it evaluates the sizes in the graph's JSON as Python expressions, compiles guard
code that stands there, and unpickles sample inputs and custom objects. Here the JSON is only parsed, the weights are
only raw bytes, and an archive with any other member is refused before anything of it is read.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import AdapterError

LARGEST_JSON = 200_000_000
SAVE_AGAIN = (
    "Where you trust the source, load it with torch.export.load, set program.example_inputs = None, and save it again "
    "with torch.export.save of torch 2.9 or newer."
)
NOTES = frozenset({"archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id"})
DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
          12: "bool", 13: "bfloat16"}  # fmt: skip
"""torch's names of the numbers that stand for types in the archive's JSON."""
WIDTHS = {"uint8": 1, "int8": 1, "bool": 1, "int16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4,
          "int64": 8, "float64": 8}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where a tensor lies: a member of the archive and how its bytes are to be seen (counts of elements)."""

    member: str
    dtype: str
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A checked archive: the program's JSON, and where each weight, buffer and constant lies."""

    path: Path
    program: dict[str, Any]
    tensors: dict[str, Stored]

    @classmethod
    def read(cls, path: Path) -> Archive:
        """Check the archive member by member.

        Raises:
            AdapterError: not such an archive, pickled or compiled parts, compressed or misplaced members, weights
                whose bytes do not fit their sizes.
        """
        try:
            with zipfile.ZipFile(path) as file:
                return _read(path, file)
        except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise damaged(path, f"it cannot be read as one ({type(error).__name__}: {error})") from error

    def load(self, device: str) -> dict[str, Any]:
        """The tensors on ``device``, by the name that the program knows them by."""
        import torch

        wholes: dict[tuple[str, str], Any] = {}
        found = {}
        with zipfile.ZipFile(self.path) as file:
            for name, stored in self.tensors.items():
                key = (stored.member, stored.dtype)
                if key not in wholes:
                    data = bytearray(file.read(stored.member))
                    kind = getattr(torch, stored.dtype)
                    flat = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
                    wholes[key] = flat.to(device)
                found[name] = torch.as_strided(wholes[key], stored.sizes, stored.strides, stored.offset)
        return found


def damaged(path: Path, why: str, remedy: str = SAVE_AGAIN) -> AdapterError:
    """The refusal of an archive."""
    return AdapterError(f"{path.name} is no exported program that can be run: {why}.", remedy=remedy, file=path.name)


def _read(path: Path, file: zipfile.ZipFile) -> Archive:
    members = {}
    for item in file.infolist():
        root, _, name = item.filename.partition("/")
        if item.compress_type != zipfile.ZIP_STORED or item.flag_bits & 1:
            raise damaged(path, f"the member {item.filename} is compressed or encrypted")
        if name in members or root != file.infolist()[0].filename.partition("/")[0]:
            raise damaged(path, f"the member {item.filename} is there twice or out of place")
        members[name] = item
    programs = [name for name in members if re.fullmatch(r"models/[^/]+\.json", name)]
    if len(programs) != 1:
        raise damaged(path, f"it holds {len(programs)} programs in models/, and not one")
    order = file.read(members["byteorder"]) if "byteorder" in members else b"little"
    if order != b"little":
        raise damaged(path, "it was saved on a machine of another byte order")
    title = programs[0].removeprefix("models/").removesuffix(".json")
    tensors: dict[str, Stored] = {}
    known = {programs[0], *NOTES}
    for folder, kind in (("data/weights", "weights"), ("data/constants", "constants")):
        config = f"{folder}/{title}_{kind}_config.json"
        known.add(config)
        if config in members:
            entries = _json(path, file, members[config])["config"]
            tensors |= {name: _stored(path, folder, name, entry, members) for name, entry in entries.items()}
    known |= {stored.member.partition("/")[2] for stored in tensors.values()}
    _check_members(path, members, known)
    return Archive(path=path, program=_json(path, file, members[programs[0]]), tensors=tensors)


def _check_members(path: Path, members: dict[str, zipfile.ZipInfo], known: set[str]) -> None:
    for name, item in members.items():
        if name.startswith("data/sample_inputs/"):
            if item.file_size:
                raise damaged(path, f"{name} holds the sample inputs of the export as a pickle, perhaps a patient's")
        elif name not in known:
            raise damaged(
                path, f"the member {name} is neither graph nor raw tensor: pickled or compiled parts are refused"
            )


def _json(path: Path, file: zipfile.ZipFile, item: zipfile.ZipInfo) -> dict[str, Any]:
    if item.file_size > LARGEST_JSON:
        raise damaged(path, f"{item.filename} has more than {LARGEST_JSON:,} bytes")
    body = json.loads(file.read(item))
    if not isinstance(body, dict):
        raise damaged(path, f"{item.filename} is not a JSON object")
    return body


def _stored(path: Path, folder: str, name: str, entry: dict[str, Any], members: dict[str, zipfile.ZipInfo]) -> Stored:
    """One tensor's place, after its bytes were found to be there and to hold every element that it can reach."""
    meta = entry["tensor_meta"]
    if entry["use_pickle"] or meta is None:
        raise damaged(path, f"the tensor or object {name} is pickled")
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None or meta["layout"] != 7:
        raise damaged(path, f"the tensor {name} has a type or layout that is not run here", "Convert it to float32.")
    sizes, strides = (tuple(_whole(size) for size in meta[key]) for key in ("sizes", "strides"))
    offset = _whole(meta["storage_offset"])
    item = members.get(f"{folder}/{entry['path_name']}")
    if item is None or len(sizes) != len(strides):
        raise damaged(path, f"the bytes of the tensor {name} are missing")
    reach = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) + 1
    if (math.prod(sizes) and reach * WIDTHS[dtype] > item.file_size) or item.file_size % WIDTHS[dtype]:
        raise damaged(path, f"the tensor {name} needs {reach * WIDTHS[dtype]:,} bytes of {item.file_size:,}")
    return Stored(member=item.filename, dtype=dtype, sizes=sizes, strides=strides, offset=offset)


def _whole(value: dict[str, Any]) -> int:
    number = value["as_int"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError("a size is not a whole number")
    return number
