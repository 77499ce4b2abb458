"""Whether a package is installed, without importing it."""

from __future__ import annotations

from importlib.util import find_spec


def is_installed(module: str) -> bool:
    """Whether `module` (top level, no dots) can be imported; a blocked module counts as absent."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # an import hook refuses it, or sys.modules holds None for it
        return False
