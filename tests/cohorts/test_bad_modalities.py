"""Bad series and images by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cohorts.conftest import found, grey, png

Write = Callable[..., Path]

# Series


@pytest.mark.parametrize(
    "cell", ["7.1", "[1, 2]", "[[0, 7.1], [6]]", '[[0, "x"]]', "{}", "[[0, NaN]]", "[[0, 1]", "[[true, 1]]"]
)
def test_series_that_are_none(write_csv: Write, cell: str) -> None:
    quoted = cell.replace('"', '""')
    path = write_csv("patient_id,study_id,series.crp", '1,S1,"[[0, 7.1]]"', f'2,S2,"{quoted}"')
    assert (found(path, "series-format").row, found(path, "series-format").severity) == (2, "error")


def test_series_out_of_order_are_a_warning(write_csv: Write) -> None:
    problem = found(write_csv("patient_id,study_id,series.crp", '1,S1,"[[6, 1], [0, 2]]"'), "series-time-order")
    assert (problem.severity, problem.row) == ("warning", 1)


# Images


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "C:\\scan.png", "a/../../secret.png", "..\\secret.png"]
)
def test_image_paths_that_leave_the_folder(write_csv: Write, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.png").write_bytes(png(grey()))
    file = write_csv("patient_id,study_id,image", f"1,S1,{path}", name="in/cohort.csv")
    problem = found(file, "image-outside-folder")
    assert (problem.severity, problem.row) == ("error", 1)


def test_a_link_that_leaves_the_folder(write_csv: Write, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(grey()))
    file = write_csv("patient_id,study_id,image", "1,S1,scan.png", name="in/cohort.csv")
    (tmp_path / "in" / "scan.png").symlink_to(tmp_path / "secret.png")
    assert found(file, "image-outside-folder").row == 1


def test_half_a_picture_is_refused_whatever_another_library_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """WeasyPrint lets the whole process read truncated pictures once it is loaded; a worker may have loaded it."""
    from PIL import ImageFile

    from models_registry.cohorts.images import ImageFault, decode_image

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageFault):
        decode_image(png(grey(size=64))[:80])


def test_missing_and_broken_images(write_csv: Write, tmp_path: Path) -> None:
    (tmp_path / "ok.png").write_bytes(png(grey()))
    (tmp_path / "cut.png").write_bytes(png(grey(size=64))[:80])
    (tmp_path / "text.png").write_text("no image")
    path = write_csv(
        "patient_id,study_id,image", "1,S1,ok.png", "2,S2,none.png", "3,S3,cut.png", "4,S4,text.png", "5,S5,"
    )
    assert found(path, "missing-image-file").row == 2
    unreadable = found(path, "unreadable-image")
    assert (unreadable.row, unreadable.count) == (3, 2)
    assert "cut.png" in unreadable.message


def test_broken_image_bytes_in_parquet(write_parquet: Write) -> None:
    path = write_parquet({"image": [png(grey()), b"rubbish", None]})
    assert (found(path, "unreadable-image").row, found(path, "unreadable-image").count) == (2, 1)


def test_an_image_bomb_is_refused_before_it_is_decoded(write_csv: Write, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(np.zeros((10_001, 10_000), dtype=np.uint8), compress_level=1))
    assert "10000 x 10001" in found(write_csv("patient_id,study_id,image", "1,S1,bomb.png"), "image-too-large").message
