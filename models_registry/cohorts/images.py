"""Images of a cohort: found safely, checked, and decoded to uint8.

Grey images become H x W, colour images H x W x 3. Deeper greys are scaled by the power of two that holds their
largest value (a 12-bit image stored in 16 bits is divided by 16), so that no image comes out black. DICOM follows
the standard's display pipeline: modality rescale, window or VOI table, MONOCHROME1 inverted, then stretched to
0-255. Images are stored as they came; only reading decodes them.
"""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_PIXELS = 100_000_000
MAX_BYTES = 256 << 20
_DRIVE = re.compile(r"[A-Za-z]:")

Pixels = npt.NDArray[np.uint8]


class ImageFault(ValueError):
    """Why an image cannot be used: a code of the catalogue of problems, and the detail that it needs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class ImageFolder:
    """The folder that relative image paths start from. Nothing outside it is ever read."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def read(self, path: str) -> bytes:
        """The bytes of an image file.

        Raises:
            ImageFault: for a path that leads outside (``..``, absolute, by a link), no such file, a huge file.
        """
        relative = path.strip().replace("\\", "/")
        parts = relative.split("/")
        if relative.startswith("/") or _DRIVE.match(relative) or ".." in parts or "\0" in relative:
            raise ImageFault("image-outside-folder", path)
        target = self.root / relative
        try:
            resolved = target.resolve(strict=True)
        except (OSError, RuntimeError):
            raise ImageFault("missing-image-file", path) from None
        if not resolved.is_relative_to(self.root):
            raise ImageFault("image-outside-folder", path)
        if not resolved.is_file():
            raise ImageFault("missing-image-file", path)
        if resolved.stat().st_size > MAX_BYTES:
            raise ImageFault("image-too-large", f"{path} has more than {MAX_BYTES >> 20} MiB")
        return resolved.read_bytes()


def is_dicom(data: bytes) -> bool:
    """Whether the bytes carry the DICOM mark."""
    return data[128:132] == b"DICM"


def decode_image(data: bytes) -> Pixels:
    """Decode PNG, JPEG or DICOM bytes; see the module's docstring for the scaling.

    Raises:
        ImageFault: ``unreadable-image`` or ``image-too-large``.
    """
    from PIL import ImageFile

    # A library that draws documents allows half pictures for the whole process; DICOM decoders use Pillow too.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with warnings.catch_warnings():
        # Decoders warn about odd headers that do not concern the pixels; what fails raises.
        warnings.simplefilter("ignore")
        return _decode_dicom(data) if is_dicom(data) else _decode_picture(data)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageFault("image-too-large", f"{width} x {height} pixels")


def _decode_picture(data: bytes) -> Pixels:
    from PIL import Image, ImageOps

    try:
        image: Any = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        _check_size(*image.size)
        image.load()
        image = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise ImageFault("image-too-large", "more than 178 megapixels") from error
    except ImageFault:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageFault("unreadable-image", _plain(error)) from error
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(np.asarray(image))
    if image.mode in {"1", "L", "LA"}:
        return np.asarray(image.convert("L"), dtype=np.uint8)
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def _plain(error: Exception) -> str:
    """A decoder's complaint without memory addresses."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "it is neither PNG, JPEG nor DICOM" if "cannot identify" in text else text[:160].rstrip(".")


def _eight_bits(values: npt.NDArray[Any]) -> Pixels:
    """Scale by the smallest power of two that fits the largest value into 8 bits."""
    top = int(values.max()) if values.size else 0
    shift = max(0, top.bit_length() - 8)
    pixels: Pixels = (np.clip(values, 0, None).astype(np.int64) >> shift).astype(np.uint8)
    return pixels


def _decode_dicom(data: bytes) -> Pixels:
    import pydicom
    from pydicom.errors import InvalidDicomError

    # What pydicom and its decoders raise on bytes that are damaged or that they have no decoder for.
    damage = (InvalidDicomError, AttributeError, ValueError, RuntimeError, NotImplementedError, OSError, KeyError,
              TypeError, EOFError)  # fmt: skip
    syntax = ""
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        if "PixelData" not in dataset:
            raise ImageFault("unreadable-image", "a DICOM object without pixels")
        if int(dataset.get("NumberOfFrames") or 1) > 1:
            raise ImageFault("unreadable-image", "a DICOM object of several frames; export the one that is meant")
        _check_size(int(dataset.Columns), int(dataset.Rows))
        syntax = str(dataset.file_meta.TransferSyntaxUID.name)
        return _displayed(dataset)
    except ImageFault:
        raise
    except damage as error:
        told = f"there is no decoder for '{syntax}' here" if "missing dependencies" in str(error) else _plain(error)
        raise ImageFault("unreadable-image", told) from error


def _displayed(dataset: Any) -> Pixels:
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    pixels = pixel_array(dataset)
    if photometric == "PALETTE COLOR":
        return _eight_bits(apply_color_lut(pixels, dataset))
    if pixels.ndim == 3:
        return _eight_bits(pixels)
    shown = np.asarray(apply_voi_lut(apply_modality_lut(pixels, dataset), dataset), dtype=np.float64)
    return _stretched(shown, inverted=photometric == "MONOCHROME1")


def _stretched(values: npt.NDArray[np.float64], *, inverted: bool) -> Pixels:
    low, high = float(values.min()), float(values.max())
    scaled = np.zeros_like(values) if high <= low else (values - low) / (high - low)
    pixels: Pixels = np.rint(255.0 * (1.0 - scaled if inverted else scaled)).astype(np.uint8)
    return pixels


def dicom_identifiers(data: bytes) -> tuple[str, ...]:
    """Names of header fields of a DICOM image that identify a person and are filled."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    fields = ("PatientName", "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(fields))
        except (InvalidDicomError, ValueError, OSError):
            return ()
        return tuple(name for name in fields if str(dataset.get(name) or "").strip())
