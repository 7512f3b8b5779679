"""A way to read a folder, put into words: what is announced, and what a refusal proposes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskwright.datasets.classes import CLASSES_FILE, ClassTable, LabelClass
from maskwright.datasets.formats.layout import Layout, counted
from maskwright.datasets.formats.matching import Match
from maskwright.datasets.formats.naming import WILD, Series
from maskwright.datasets.samples import Sample
from maskwright.errors import listed
from maskwright.imaging.colors import default_color

SHOWN = 3
"""Readings that a refusal shows."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to read a folder."""

    what: str
    """The rule, in a sentence."""
    samples: tuple[Sample, ...]
    alone: tuple[Path, ...] = ()
    """Images of the rule's series without a mask, and masks without an image."""
    left_out: tuple[str, ...] = ()
    """Series that the rule does not read, as notes."""
    doubtful: bool = False
    """Whether only numbers agree, and the words that differ name neither images nor masks."""
    raters: Mapping[Path, tuple[tuple[str, Path], ...]] = field(default_factory=dict)
    """Masks of other observers, by image: a name and the file."""
    lossy: bool = False
    """Whether the masks were compressed or smoothed."""
    names: tuple[str, ...] = ()
    """Names of classes that file names tell, background first; none where values tell."""

    def layout(self, root: Path) -> Layout:
        """As a reader gives it."""
        first = self.samples[0].mask
        assert first is not None
        folder = first.path.parent
        notes = (
            f"{root}: no known format; names and contents tell: {self.what}",
            f"{counted(len(self.samples), 'image')} with masks, for example {shown(root, self.samples[0])}",
            *self.left_out,
        )
        table = root / CLASSES_FILE
        classes = tuple(
            LabelClass(name=name, color=default_color(index, name), values=(index,))
            for index, name in enumerate(self.names)
        )
        return Layout(
            format="inferred",
            samples=self.samples,
            masks_folder=folder,
            home=root,
            table=table if table.is_file() else None,
            classes=ClassTable(classes=classes) if classes else None,
            notes=notes,
        )


def certain(found: Sequence[Reading]) -> Reading | None:
    """The reading that may be used with an announcement: the only one, and without exceptions."""
    if len(found) == 1 and not found[0].alone and not found[0].doubtful and len(found[0].samples) > 1:
        return found[0]
    return None


def proposal(root: Path, found: Sequence[Reading]) -> str:
    """The best readings with counts and one pair each, and the commands that accept one; "" without readings."""
    if not found:
        return ""
    lines = ["Names and contents suggest:" if len(found) > 1 else "Names and contents suggest one reading:"]
    for number, reading in enumerate(found[:SHOWN], 1):
        lines.append(f"  {number}. {reading.what}: {counted(len(reading.samples), 'image')} with masks,")
        lines.append(f"     for example {shown(root, reading.samples[0])}")
        if reading.alone:
            names = listed([relative(root, path) for path in reading.alone], 3)
            lines.append(f"     without a partner, left out: {len(reading.alone)} ({names})")
    lines.append("Accept one (it writes manifest.csv and classes.toml, which every command reads from then on):")
    lines += [f"  maskwright adopt {_quoted(root)} --as {number}" for number in range(1, len(found[:SHOWN]) + 1)]
    return "\n".join(lines)


def by_hand(root: Path) -> str:
    """How a manifest is written, where nothing is found."""
    return (
        f"Or say which mask is whose in {root / 'manifest.csv'}, with lines such as these (docs/data.md):\n"
        "  image,mask\n  images/a.jpg,masks/a.png"
    )


def shown(root: Path, sample: Sample) -> str:
    """An image and its masks, as paths below the root."""
    images, masks = (
        [relative(root, path) for path in part.files] for part in (sample.image, sample.mask) if part is not None
    )
    return f"{listed(images, 4)} with {listed(masks, 4)}"


def pattern(root: Path, series: Series) -> str:
    """The files of a series as one pattern below the root, folder by folder."""
    paths = [relative(root, path) for _, _, path in series.files]
    if len(paths) == 1:
        return paths[0]
    parts = [path.split("/") for path in paths]
    if len({len(part) for part in parts}) > 1:
        return _starred(paths)
    return "/".join(_starred(names) for names in zip(*parts, strict=True))


def _starred(names: Sequence[str]) -> str:
    """What names begin and end with alike, and a star for what lies between."""
    if len(set(names)) == 1:
        return names[0]
    start = _common(names)
    end = _common([name[len(start) :][::-1] for name in names])[::-1]
    # Digits that happen to be the same in all are part of the number.
    return f"{start.rstrip('0123456789')}*{end.lstrip('0123456789')}"


def _common(texts: Sequence[str]) -> str:
    """The characters that all texts start with."""
    first, last = min(texts), max(texts)
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def changed(match: Match) -> str:
    """The words that are exchanged, where they stand inside names."""
    inside = WILD in match.images.name and (match.gone or match.come)
    if not inside:
        return ""
    gone, come = (" ".join(words) for words in (match.gone, match.come))
    return f' ("{gone}" becomes "{come}")' if gone and come else f' ("{come}" is added)' if come else ""


def relative(root: Path, path: Path) -> str:
    """A path below the root, as text; "" is the root."""
    start, text = f"{root.as_posix()}/", path.as_posix()
    if text.startswith(start):
        return text[len(start) :]
    text = path.relative_to(root).as_posix()
    return "" if text == "." else text


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def paths_of(sample: Sample) -> list[Path]:
    """The files of a sample: those of its image, and those of its mask."""
    assert sample.mask is not None
    return [*sample.image.files, *sample.mask.files]
