"""Screenshot for the README: the top of a report, down to its first worst predictions, as docs/ladder.png.

    python docs/picture.py runs/ladder-digits-1/report.html

Requires Chromium (Debian: apt-get install chromium) and playwright, which the extra `test` installs.
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
MAX_BYTES = 300 * 1024
LAST_SECTION = "Worst predictions"  # the last section of the image
LAST_SECTION_HEIGHT = 560  # pixels of it
MAX_HEIGHT = 2400  # pixels, if that section is further down or missing


def screenshot(page_file: Path) -> Image.Image:
    """Render a report in a browser window 1200 pixels wide, in the light colour scheme."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(page_file.resolve().as_uri())
        section = page.locator("section", has=page.get_by_role("heading", name=LAST_SECTION, exact=True))
        box = section.bounding_box() if section.count() else None
        height = min(MAX_HEIGHT, box["y"] + min(LAST_SECTION_HEIGHT, box["height"]) if box else MAX_HEIGHT)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height}
        png = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
        browser.close()
    return Image.open(io.BytesIO(png)).convert("RGB")


def compress(image: Image.Image) -> bytes:
    """PNG with the largest palette that fits into 300 KiB.

    Raises:
        ValueError: if 32 colours do not fit.
    """
    for colours in (256, 128, 64, 32):
        out = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= MAX_BYTES:
            return out.getvalue()
    raise ValueError(f"the image of {image.width}x{image.height} pixels does not fit into {MAX_BYTES} bytes")


if __name__ == "__main__":
    OUT.write_bytes(compress(screenshot(Path(sys.argv[1]))))
    print(f"{OUT}: {OUT.stat().st_size / 1024:.0f} KiB")
