"""`maskwright check`: what is in a data set, and the silent mistakes in it, before an overnight run learns them.

Every pair is read once and measured (`scan`, in parallel, with a cache). Then each of `RULES` judges every pair against
the rest of the set. `page` shows the findings with pictures; `fixing` writes a corrected copy. A finding that is not
true of the data is a mistake of ours: rules leave doubtful cases alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright import runs
from maskwright.check import contents, leaks, mask_values, misalignment, outliers, pictures, scan_result
from maskwright.check.agreement import Agreement, Overlaps, agreements, overlaps
from maskwright.check.class_table import declared_table, ignored_values, settle
from maskwright.check.pictures import Draw
from maskwright.check.place import claim
from maskwright.check.scan import scan
from maskwright.check.scan_result import ScanResult, Settled
from maskwright.datasets.classes import NO_CLASSES
from maskwright.datasets.formats import find_layout
from maskwright.datasets.formats.layout import Layout
from maskwright.datasets.problems import Problem
from maskwright.errors import ClassTableError, DataError, MaskwrightError, listed

__all__ = ["RULES", "TITLES", "Audit", "Group", "Rule", "audit", "check", "grouped", "title"]

PAGE = "check.html"
RESULT = "check.json"
CACHE = ".measured.jsonl"


def _found_on_opening(scanned: ScanResult) -> list[Problem]:
    """Nothing: the readers and the class table have found these already."""
    return []


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that the audit looks for."""

    titles: Mapping[str, str]
    """The kinds of its findings (`Problem.kind`), and what they are called."""
    picture: Draw
    """Shows one of its findings."""
    find: Callable[[ScanResult], list[Problem]] = _found_on_opening


RULES = (
    Rule(
        titles={"unopened": "The data set cannot be opened"},
        picture=pictures.pair,
    ),
    Rule(
        find=scan_result.unreadable_files,
        titles={"unreadable": "Files that cannot be read"},
        picture=pictures.pair,
    ),
    Rule(
        titles={"lost-objects": "Objects that cannot be drawn", "boxes": "Boxes instead of outlines"},
        picture=pictures.pair,
    ),
    Rule(
        titles={"unpaired": "Files without a partner", "duplicate-stem": "Two files for one name"},
        picture=pictures.pair,
    ),
    Rule(
        find=misalignment.size_mismatches,
        titles={
            "size-mismatch": "Masks of another size than their image",
            "exif-mismatch": "Masks of images that the camera stored on their side",
        },
        picture=pictures.side_by_side,
    ),
    Rule(
        titles={
            "class-table": "The class table contradicts the folder",
            "undecided-classes": "Classes that cannot be told",
            "two-encodings": "Two encodings of one class",
            "numbered-objects": "Values that number objects",
            "off-by-one": "Classes counted from 1",
        },
        picture=pictures.pair,
    ),
    Rule(
        find=mask_values.undeclared_values,
        titles={"undeclared-values": "Values that no class stands for"},
        picture=pictures.offending_pixels,
    ),
    Rule(
        find=mask_values.everything_unlabelled,
        titles={"everything-unlabelled": "Nothing is labelled"},
        picture=pictures.pair,
    ),
    Rule(
        find=leaks.same_images,
        titles={"same-image": "The same image in two splits", "repeated-image": "The same image more than once"},
        picture=pictures.several_images,
    ),
    Rule(
        find=lambda scanned: leaks.groups_in_two_splits(scanned.samples),
        titles={"same-group": "A group in two splits"},
        picture=pictures.several_images,
    ),
    Rule(
        find=leaks.near_duplicates_across,
        titles={"near-duplicate": "Nearly the same image in two splits"},
        picture=pictures.several_images,
    ),
    Rule(
        find=misalignment.misplaced_masks,
        titles={
            "shifted-masks": "All masks shifted",
            "shifted-mask": "Masks that seem shifted",
            "turned-mask": "Masks that seem flipped or turned",
            "unrelated-mask": "Masks that do not fit their image",
        },
        picture=pictures.outlines,
    ),
    Rule(
        find=contents.class_problems,
        titles={
            "never-labelled": "Classes never labelled in training",
            "test-only-class": "Classes in validation or test only",
            "rare-class": "Rare classes",
        },
        picture=pictures.pair,
    ),
    Rule(
        find=contents.empty_masks,
        titles={"unlabelled-mask": "Masks without a label", "one-class-mask": "Masks of one class"},
        picture=pictures.pair,
    ),
    Rule(
        find=mask_values.interpolated_masks,
        titles={"interpolated-mask": "Masks that seem interpolated"},
        picture=pictures.offending_pixels,
    ),
    Rule(
        find=mask_values.jpeg_masks,
        titles={"jpeg-mask": "Masks stored as JPEG"},
        picture=pictures.pair,
    ),
    Rule(
        find=contents.speckled_masks,
        titles={"speckle": "Specks", "holes": "Holes"},
        picture=pictures.ringed_spots,
    ),
    Rule(
        find=scan_result.mixed_images,
        titles={"mixed-channels": "Images of several kinds"},
        picture=pictures.pair,
    ),
    Rule(
        find=outliers.far_images,
        titles={
            "far-channels": "Images with other channels",
            "far-size": "Images of an unusual size",
            "far-brightness": "Images of an unusual brightness",
        },
        picture=pictures.pair,
    ),
    Rule(
        find=outliers.dead_channels,
        titles={"constant-channel": "Constant channels", "nan-channel": "Channels with NaN"},
        picture=pictures.pair,
    ),
    Rule(
        find=outliers.sentinel_values,
        titles={"sentinel": "Values that look like no data"},
        picture=pictures.pair,
    ),
    Rule(
        find=outliers.unused_bits,
        titles={"unused-bits": "16-bit images that use fewer bits"},
        picture=pictures.pair,
    ),
)
"""Everything that the audit looks for, in the order in which it is told."""

TITLES = {kind: words for rule in RULES for kind, words in rule.titles.items()}
"""Every kind of finding, in order, and its title."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a check found."""

    root: Path
    layout: Layout
    scanned: ScanResult
    problems: tuple[Problem, ...]
    """Errors first."""
    notes: tuple[str, ...]
    """What was found and assumed, to be shown."""
    agreements: tuple[Agreement, ...] = ()
    """How well further observers agree with the masks that are used."""
    overlaps: Overlaps | None = None
    """Where masks of one class each overlap."""
    refusal: MaskwrightError | None = None
    """Why the data set could not be opened, if it could not."""

    @property
    def errors(self) -> int:
        """Number of errors: training refuses data that has any."""
        return sum(problem.level == "error" for problem in self.problems)

    @property
    def warnings(self) -> int:
        """Number of warnings."""
        return len(self.problems) - self.errors

    def rows(self) -> list[tuple[str, str, str, str]]:
        """A line for each kind of finding: level and number, kind, files, and what to do about the first one."""
        rows = []
        for group in grouped(self.problems):
            first, count = group.problems[0], len(group.problems)
            files = list(dict.fromkeys(problem.files[0].name for problem in group.problems if problem.files))
            level = group.level if count == 1 else f"{count} {group.level}s"
            rows.append((level, title(group.kind), listed(files, 3), f"{first.what} {first.remedy}"))
        return rows

    def to_json(self) -> dict[str, Any]:
        """The findings, and the classes' frequencies, as plain values."""
        pixels = self.scanned.split_pixels((None, "train", "val", "test"))
        return {
            "data": str(self.root),
            "format": self.layout.format,
            "samples": len(self.scanned.samples),
            "errors": self.errors,
            "warnings": self.warnings,
            "problems": [
                {
                    "level": problem.level,
                    "kind": problem.kind,
                    "files": [str(path) for path in problem.files],
                    "what": problem.what,
                    "remedy": problem.remedy,
                    "sample": problem.sample,
                    "numbers": dict(problem.numbers),
                }
                for problem in self.problems
            ],
            "classes": [
                {
                    "name": item.name,
                    "pixels": int(pixels[:, index].sum()),
                    "images": int((pixels[:, index] > 0).sum()),
                }
                for index, item in enumerate(self.scanned.table.classes)
            ],
            "raters": [one.to_json() for one in self.agreements],
            "overlaps": None if self.overlaps is None else self.overlaps.to_json(),
            "notes": list(self.notes),
        }


def audit(
    path: str | Path,
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Read all pairs of a data set and find what is wrong with them.

    Parameters
    ----------
    path
        A folder or file of any format that `open_dataset` reads.
    cache
        A file that measurements are kept in, so that an interrupted check goes on where it stopped.
    workers
        Processes; by default one for each core.
    progress
        Called with the pairs read so far and their number.

    Raises
    ------
    DataError
        There is no such place. What is wrong within one is a finding, even that it cannot be opened.
    """
    root = Path(path)
    problems: list[Problem] = []
    try:
        layout = find_layout(root, problems=problems)
        declared = declared_table(layout)
    except (DataError, ClassTableError) as refusal:
        if not root.exists():
            raise
        return _unopened(root, refusal, problems)
    measured = scan(layout.samples, ignored_values(layout, declared), cache=cache, workers=workers, progress=progress)
    labels = [
        (sample.mask.path.name, one.labels)
        for sample, one in zip(layout.samples, measured, strict=True)
        if one.labels is not None and sample.mask is not None
    ]
    settled = settle(layout, declared, labels)
    scanned = ScanResult(
        samples=layout.samples,
        measured=tuple(measured),
        settled=settled,
        home=layout.table or layout.table_place,
    )
    agreed = agreements(layout, settled.table) if settled.certain else ()
    common = overlaps(layout.samples, settled.table) if settled.certain else None
    told = [one.told() for one in agreed] + ([common.told()] if common is not None else [])
    return Audit(
        root=root,
        layout=layout,
        scanned=scanned,
        problems=find_problems(scanned, problems),
        notes=(*layout.notes, settled.note, *told),
        agreements=agreed,
        overlaps=common,
    )


def _unopened(root: Path, refusal: MaskwrightError, problems: list[Problem]) -> Audit:
    """What there is to say of a set that cannot be opened."""
    finding = Problem(
        level="error",
        kind="unopened",
        files=(refusal.file or root,),
        what=refusal.what,
        remedy=" ".join(part for part in (refusal.expected, refusal.remedy) if part) or "Correct it, then check again.",
    )
    return Audit(
        root=root,
        layout=Layout(format="unknown", samples=(), masks_folder=root),
        scanned=ScanResult(samples=(), measured=(), settled=Settled(NO_CLASSES, "", certain=False), home=root),
        problems=ordered([finding, *problems]),
        notes=(),
        refusal=refusal,
    )


def check(
    path: str | Path,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
) -> Audit:
    """Audit a data set and write `check.html` and `check.json` into the folder `out`, where the cache is kept too.

    Arguments and errors are those of `audit`; RunError if another check is writing there, OutputError if the folder
    holds the report of another data set and `overwrite` does not give leave to replace it.
    """
    from maskwright.check.page import write_page

    with runs.locked(out):
        claim(out, Path(path), overwrite=overwrite)
        found = audit(path, cache=out / CACHE, workers=workers, progress=progress)
        write_page(out / PAGE, found)
        runs.write_json(out / RESULT, found.to_json())
    return found


@dataclass(frozen=True)
class Group:
    """All findings of one kind and level."""

    level: str
    kind: str
    problems: tuple[Problem, ...]


def find_problems(scanned: ScanResult, from_layout: Iterable[Problem] = ()) -> tuple[Problem, ...]:
    """Apply all rules; errors first, then in the order of `TITLES`."""
    found = [*from_layout]
    if scanned.settled.problem is not None:
        found.append(scanned.settled.problem)
    for rule in RULES:
        found += rule.find(scanned)
    return ordered(found)


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Errors first, then in the order of `TITLES`; a kind that is not there comes before those that are."""
    places = {kind: place for place, kind in enumerate(TITLES)}
    return tuple(sorted(problems, key=lambda one: (one.level != "error", places.get(one.kind, -1), one.kind)))


def grouped(problems: Sequence[Problem]) -> list[Group]:
    """Findings by kind and level, in their order."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.level, problem.kind), []).append(problem)
    return [Group(level, kind, tuple(found)) for (level, kind), found in groups.items()]


def title(kind: str) -> str:
    """A kind in words."""
    return TITLES.get(kind, kind.replace("-", " ").capitalize())
