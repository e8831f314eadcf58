"""A study's picture as the numbers that an exported classifier takes. Registers no adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError
from models_registry.adapters.wishes import check_keys, refusal

Floats32 = npt.NDArray[np.float32]

KEYS: dict[str, Any] = {
    "size": (int, list),
    "channels": int,
    "mean": list,
    "std": list,
    "fit": str,
    "resample": str,
}
FITS = ("stretch", "crop")
RESAMPLES = ("nearest", "bilinear", "bicubic", "lanczos")
LARGEST_SIDE = 4096
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, as Pillow weighs colours when it makes a picture grey."""


@dataclass(frozen=True, kw_only=True)
class PixelPlan:
    """How a picture becomes float32 [channels, height, width].

    In this order: to the wanted channels; to the wanted size with Pillow; to 0..1 by the range of the picture's type
    (255 or 65535); minus ``mean``, divided by ``std``, for each channel.

    Attributes:
        fit: ``stretch`` to the size, or ``crop``: the shorter side to the size, then the middle.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str = "stretch"
    resample: str = "bilinear"

    @classmethod
    def read(cls, body: dict[str, Any]) -> PixelPlan:
        """The object ``input`` of ``auscult.json``: ``{"size": 224, "channels": 1, "mean": [0.5], "std": [0.25]}``.

        Raises:
            AdapterError: with the key and what may stand there.
        """
        check_keys(body, KEYS, required=("size", "channels"), inside="input")
        size = body["size"] if isinstance(body["size"], list) else [body["size"]] * 2
        if len(size) != 2 or not all(_is_whole(side) and 1 <= side <= LARGEST_SIDE for side in size):
            what = f"Write one side, or [height, width], from 1 to {LARGEST_SIDE}."
            raise refusal("input.size", f"The size is {body['size']!r}.", what)
        channels = body["channels"]
        if channels not in {1, 3}:
            raise refusal("input.channels", f"There are {channels} channels.", "Write 1 (grey) or 3 (colour).")
        mean, std = (_numbers(body, name, channels, default) for name, default in (("mean", 0.0), ("std", 1.0)))
        if min(std) <= 0:
            raise refusal("input.std", "A deviation is not above 0.", "Write what each channel is divided by.")
        fit, resample = body.get("fit", "stretch"), body.get("resample", "bilinear")
        for name, value, known in (("fit", fit, FITS), ("resample", resample, RESAMPLES)):
            if value not in known:
                raise refusal(f"input.{name}", f"The value is {value!r}.", f"Use one of: {', '.join(known)}.")
        return cls(height=size[0], width=size[1], channels=channels, mean=mean, std=std, fit=fit, resample=resample)

    def __call__(self, images: Sequence[npt.NDArray[Any]]) -> Floats32:
        """Pictures as float32 [n, channels, height, width].

        Raises:
            AdapterError: a picture that is neither [H, W] nor [H, W, 3], or neither uint8 nor uint16.
        """
        shape = (len(images), self.channels, self.height, self.width)
        found = np.empty(shape, np.float32)
        mean, std = (np.array(values, np.float64)[:, None, None] for values in (self.mean, self.std))
        for row, image in enumerate(images):
            found[row] = (self._unit(image) - mean) / std
        return found

    def describe(self) -> str:
        """In words, for the documentation of a version."""
        colour = "grey" if self.channels == 1 else "colour"
        fit = "stretched to" if self.fit == "stretch" else "cropped in the middle to"
        return (
            f"{colour} image, {fit} {self.height} x {self.width} ({self.resample}), scaled to 0..1, "
            f"minus {list(self.mean)}, divided by {list(self.std)}"
        )

    def _unit(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The picture in the plan's channels and size, from 0 to 1: [channels, height, width]."""
        if image.dtype not in (np.uint8, np.uint16) or image.ndim not in {2, 3} or 0 in image.shape:
            raise _bad_image(image)
        if image.ndim == 3 and image.shape[2] not in {1, 3}:
            raise _bad_image(image)
        full = float(np.iinfo(image.dtype).max)
        planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
        if len(planes) == 3 and self.channels == 1:
            grey = np.tensordot(np.array(LUMA), planes.astype(np.float64), axes=1)
            planes = np.rint(grey).astype(image.dtype)[None]
        sized = np.stack([self._sized(plane) for plane in planes]) / full
        return np.broadcast_to(np.clip(sized, 0.0, 1.0), (self.channels, self.height, self.width))

    def _sized(self, plane: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """One channel in the plan's size. Eight bits stay eight bits, as in the usual training pipelines."""
        from PIL import Image

        small = plane.dtype == np.uint8
        picture = Image.fromarray(np.ascontiguousarray(plane) if small else plane.astype(np.float32))
        height, width = plane.shape
        if self.fit == "crop":
            scale = max(self.height / height, self.width / width)
            height, width = max(self.height, round(height * scale)), max(self.width, round(width * scale))
        else:
            height, width = self.height, self.width
        if (height, width) != plane.shape:
            picture = picture.resize((width, height), Image.Resampling[self.resample.upper()])
        top, left = (height - self.height) // 2, (width - self.width) // 2
        return np.asarray(picture, np.float64)[top : top + self.height, left : left + self.width]


def _numbers(body: dict[str, Any], name: str, channels: int, default: float) -> tuple[float, ...]:
    values = body.get(name, [default] * channels)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) != len(values) or len(values) != channels:
        raise refusal(f"input.{name}", f"The value is {values!r}.", f"Write {channels} numbers, one for each channel.")
    return tuple(float(value) for value in numbers)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bad_image(image: npt.NDArray[Any]) -> AdapterError:
    return AdapterError(
        f"A picture is {image.dtype} of the shape {image.shape}.",
        remedy="Give pictures of 8 or 16 bits, grey or with three channels.",
        column="image",
    )
