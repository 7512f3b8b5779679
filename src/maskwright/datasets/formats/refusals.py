"""What a folder holds, and what it should hold, for messages that refuse it."""

from __future__ import annotations

from pathlib import Path

from maskwright.errors import PairingError, listed


def no_masks(folder: Path) -> PairingError:
    """The error for images without masks."""
    return PairingError(
        f"{folder} has images and no masks. Found there: {contents(folder)}. Expected a folder masks or labels beside "
        f"images:\n\n{tree(folder)}"
    )


def contents(folder: Path) -> str:
    """The names in a folder, for a message."""
    names = [f"{path.name}{'/' if path.is_dir() else ''}" for path in sorted(folder.iterdir())]
    return listed([name for name in names if not name.startswith(".")]) or "nothing"


def tree(root: Path) -> str:
    """The layout that is expected of a folder."""
    return (
        f"{root}\n"
        "├── images/        a.png, b.png, ...\n"
        "├── masks/         a.png, b.png, ...   (or labels/)\n"
        "└── classes.toml   optional: names and values of the classes\n"
    )
