"""Pictures of every view: python scripts/_screenshots.py WORKSPACE FOLDER. Works on a copy: it starts a campaign."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

import curator
from tests.browser import NARROW, WIDE, browser, visiting
from tests.serving import serving

QUALITY = 72  # of WebP
VIEWS: dict[str, tuple[dict[str, str], str]] = {
    "explore": ({"row": "", "color": "cluster_name"}, ".tile img"),
    "detail": ({"view": "explore", "row": "40", "full": "1"}, "article.full:has-text('Values') img.isLarge"),
    "search": ({"like": "[[1,40]]"}, ".tile img"),
    "duplicates": ({"order": "largest"}, "h2:has-text('Group 1 of')"),
    "select": ({"name": "selection"}, "article .u-over"),
    "failures": ({"name": "night"}, "article:has-text('Mode 1')"),
    "review": ({"view": "failures", "name": "night", "mode": "1"}, ".queue img"),
    "runs": ({}, "h2:has-text('Unreadable')"),
}


def main() -> None:
    workspace, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(workspace, Path(scratch) / "street-scenes")
        with serving(Path(scratch)) as server, browser() as opened:
            with curator.Client(server.address) as client:
                client.create_campaign("street-scenes", "night", rows=[10, 14, 20, 200, 204, 210])
            for scheme in ("light", "dark"):
                for size in (WIDE, NARROW):
                    with visiting(opened, server.address, size=size, scheme=scheme) as visit:
                        for name, (parameters, sign) in VIEWS.items():
                            given = {key: value for key, value in parameters.items() if value}
                            page = visit.open(given.pop("view", name), ws="street-scenes", **given)
                            page.locator(sign).first.wait_for()
                            page.wait_for_timeout(1500)  # pictures and the map
                            save(page.screenshot(), folder / f"{name}-{scheme}-{size[0]}.webp")
    print(f"{len(list(folder.glob('*.webp')))} pictures in {folder}")


def save(png: bytes, path: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(path, "WEBP", quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
