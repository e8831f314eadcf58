"""Decoding: every mode comes out as uint8 with the values that another route gives."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from models_registry.cohorts import convert_cohort, inspect_cohort, open_cohort
from models_registry.cohorts.images import ImageFault, decode_image
from tests.cohorts.conftest import grey, png

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
RGB = np.stack([grey(0, 8), grey(40, 8), grey(90, 8)], axis=2)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def test_grey_and_colour_png_are_exact() -> None:
    np.testing.assert_array_equal(decode_image(png(grey())), grey())
    np.testing.assert_array_equal(decode_image(png(RGB)), RGB)


@pytest.mark.parametrize(("mode", "shape"), [("1", (8, 8)), ("LA", (8, 8)), ("P", (8, 8, 3)), ("RGBA", (8, 8, 3))])
def test_other_png_modes(mode: str, shape: tuple[int, ...]) -> None:
    pixels = decode_image(encoded(Image.fromarray(RGB).convert(mode), "PNG"))
    assert (pixels.dtype, pixels.shape) == (np.uint8, shape)
    assert pixels.max() > pixels.min()


@pytest.mark.parametrize(("top", "shift"), [(255, 0), (4095, 4), (65535, 8)])
def test_deep_greys_are_scaled_by_a_power_of_two(top: int, shift: int) -> None:
    deep = np.linspace(0, top, 64).astype(np.uint16).reshape(8, 8)
    np.testing.assert_array_equal(decode_image(png(deep)), (deep >> shift).astype(np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_modes(mode: str) -> None:
    pixels = decode_image(encoded(Image.fromarray(RGB).convert(mode), "JPEG", quality=100))
    expected = RGB if mode != "L" else np.asarray(Image.fromarray(RGB).convert("L"))
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected.astype(int)).mean() < 6


def test_a_rotated_photograph_is_set_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(np.zeros((4, 9), np.uint8)), "JPEG", exif=exif)
    assert decode_image(data).shape == (9, 4)


def dicom(name: str) -> bytes:
    return (BUNDLED / name).read_bytes()


def test_dicom_of_ct_is_rescaled_and_windowed() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom("CT_small.dcm")))
    raw = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    expected = np.rint(255 * (raw - raw.min()) / (raw.max() - raw.min()))
    pixels = decode_image(dicom("CT_small.dcm"))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (128, 128))
    np.testing.assert_array_equal(pixels, expected)


def test_dicom_window_clips(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom("CT_small.dcm")))
    dataset.WindowCenter, dataset.WindowWidth = 0, 100
    pixels = decode_image(_saved(dataset))
    raw = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    assert (pixels[raw <= -51] == 0).all()
    assert (pixels[raw >= 50] == 255).all()


def test_monochrome1_is_inverted() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom("CT_small.dcm")))
    plain = decode_image(_saved(dataset))
    dataset.PhotometricInterpretation = "MONOCHROME1"
    inverted = decode_image(_saved(dataset))
    assert np.abs(255 - inverted.astype(int) - plain).max() <= 1


def _saved(dataset: pydicom.Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "SC_rgb_rle.dcm", "JPEG2000.dcm"]
)
def test_dicom_transfer_syntaxes(name: str) -> None:
    pixels = decode_image(dicom(name))
    assert pixels.dtype == np.uint8
    assert pixels.max() > pixels.min()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "unreadable-image"),
        (b"x" * 300, "unreadable-image"),
        (b"\0" * 128 + b"DICM", "unreadable-image"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 50, "unreadable-image"),
    ],
)
def test_rubbish_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(ImageFault) as caught:
        decode_image(data)
    assert caught.value.code == code


def test_every_bundled_dicom_is_decoded_or_refused() -> None:
    """Whatever comes, nothing but a fault with a reason gets out."""
    decoded = 0
    for path in sorted(BUNDLED.glob("*.dcm")):
        try:
            assert decode_image(path.read_bytes()).dtype == np.uint8
            decoded += 1
        except ImageFault as fault:
            assert fault.detail
    assert decoded > 10


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "no decoder for 'JPEG-LS Lossless Image Compression'"),
        ("rtplan.dcm", "without pixels"),
        ("MR_truncated.dcm", "less than expected"),
    ],
)
def test_the_reason_is_told(name: str, reason: str) -> None:
    with pytest.raises(ImageFault, match=reason):
        decode_image(dicom(name))


def test_a_multiframe_object_is_refused() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom("CT_small.dcm")))
    dataset.NumberOfFrames = 2
    with pytest.raises(ImageFault, match="several frames"):
        decode_image(_saved(dataset))


def test_dicom_through_a_cohort(tmp_path: Path, write_csv: Callable[..., Path]) -> None:
    (tmp_path / "ct.dcm").write_bytes(dicom("CT_small.dcm"))
    path = write_csv("patient_id,study_id,image", "1,S1,ct.dcm")
    inspection = inspect_cohort(path)
    assert inspection.errors == ()
    named = [p for p in inspection.warnings if p.code == "dicom-identifiers"]
    assert "PatientName" in named[0].message
    assert "CompressedSamples" not in named[0].message  # the name itself
    convert_cohort(path, mapping=None, destination=tmp_path / "out")
    (batch,) = open_cohort(tmp_path / "out").batches(0)
    np.testing.assert_array_equal(batch.images[0], decode_image(dicom("CT_small.dcm")))
