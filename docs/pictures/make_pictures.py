"""Takes the pictures of the tutorials from a running demo: 1200 px wide, at most 200 kB each.

    python docs/pictures/make_pictures.py http://127.0.0.1:8000 var/demo/demo-password

It signs in and looks; it changes nothing. Take them from a demo that was just made: what people did shows.
"""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
WIDTH, MOST_BYTES = 1200, 200_000
SYSTEM = "/systems/reference-multimodal-chest-model/"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture: who looks at which page, and how much of it is shown."""

    name: str
    user: str
    path: str
    height: int = 760


PICTURES = (
    Picture(name="home", user="clara", path="/"),
    Picture(name="review", user="mina", path="/governance/reviews/1/", height=1100),
    Picture(name="audit", user="amir", path="/audits/2/", height=1000),
    Picture(name="requirements", user="dora", path=f"{SYSTEM}versions/4/requirements/"),
    Picture(name="incident", user="lea", path="/governance/incidents/1/"),
    Picture(name="deployment", user="lea", path="/governance/deployments/1/", height=900),
    Picture(name="portal", user="rita", path="/portal/"),
    Picture(name="people", user="ada", path="/administration/people/"),
)


def main(address: str, password: str) -> int:
    """Take every picture; the names of those that are too large, or whose page was not there, are told."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    wrong = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for picture in PICTURES:
            context = browser.new_context(
                viewport={"width": WIDTH, "height": picture.height},
                device_scale_factor=1,
                color_scheme="light",
                reduced_motion="reduce",
                locale="en-GB",
                timezone_id="UTC",
            )
            data = _taken(context.new_page(), picture, address=address, password=password)
            context.close()
            if data is None or len(data) > MOST_BYTES:
                wrong.append(f"{picture.name}: {'no such page' if data is None else f'{len(data)} bytes'}")
            else:
                (FOLDER / f"{picture.name}.png").write_bytes(data)
        browser.close()
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


def _taken(page: Any, picture: Picture, *, address: str, password: str) -> bytes | None:
    """The picture as PNG with 256 colours; None where the page does not answer with 200."""
    page.goto(f"{address}/sign-in/")
    page.fill("[name=username], [name=login]", picture.user)
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)
    answer = page.goto(f"{address}{picture.path}", wait_until="networkidle")
    if answer is None or answer.status != 200:
        return None
    return _smaller(page.screenshot(animations="disabled", caret="hide"))


def _smaller(data: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1].rstrip("/"), Path(sys.argv[2]).read_text(encoding="utf-8").strip()))
