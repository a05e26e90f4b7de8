"""Takes the README's picture: the top of a page, down to its first rows of worst errors, as docs/ladder.png.

    python docs/picture.py runs/ladder-mnist-1/report.html

Needs Chromium (Debian: apt-get install chromium) and playwright, which the extra `test` brings.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).parent / "ladder.png"
WIDTH = 1200  # pixels
MOST = 300 * 1024  # bytes
LAST = "Where it fails"  # the section that the picture ends with
ROWS = 560  # pixels of it
TALLEST = 2400  # pixels, where that section is further down or missing


def shot(page_file: Path) -> Image.Image:
    """The page as it looks in a light browser window of 1200 pixels."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(page_file.resolve().as_uri())
        last = page.locator("section", has=page.get_by_role("heading", name=LAST, exact=True))
        box = last.bounding_box() if last.count() else None
        height = min(TALLEST, box["y"] + min(ROWS, box["height"]) if box else TALLEST)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height}
        taken = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
        browser.close()
    return Image.open(io.BytesIO(taken)).convert("RGB")


def packed(picture: Image.Image) -> bytes:
    """PNG with as many colours as 300 KiB allow.

    Raises:
        ValueError: where 32 are too many.
    """
    for colours in (256, 128, 64, 32):
        out = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= MOST:
            return out.getvalue()
    raise ValueError(f"the picture of {picture.width}x{picture.height} pixels does not go into {MOST} bytes")


if __name__ == "__main__":
    OUT.write_bytes(packed(shot(Path(sys.argv[1]))))
    print(f"{OUT}: {OUT.stat().st_size / 1024:.0f} KiB")
