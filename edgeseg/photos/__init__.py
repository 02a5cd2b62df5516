"""Three freely licensed photos that `verify` uses where the user names no pictures."""

from pathlib import Path


def shipped_photos() -> list[Path]:
    """The photos' paths, sorted."""
    return sorted(Path(__file__).parent.glob("*.jpg"))
