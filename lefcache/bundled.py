"""What comes with lefcache itself, so that nothing need be downloaded to try it."""

from pathlib import Path


def bundled(name: str) -> Path:
    """Where a folder of `data/` lies: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).parent
    inside = package / "data" / name
    return inside if inside.exists() else package.parent / "data" / name
