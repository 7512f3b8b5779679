"""`maskwright check`: what is in a data set, and the silent mistakes in it, before anybody trains on them a night long.

One pass reads every pair once (`survey`, in parallel, with a cache), measuring only (`looking`). Rules (`findings`)
then judge each pair against the rest of the set. `page` shows every finding with pictures; `fixing` writes a corrected
copy. A finding that is not true of the data is a mistake of ours: rules leave doubtful cases alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright import runs
from maskwright.check.findings import find_problems, grouped, title
from maskwright.check.quickly import quick
from maskwright.check.surveyed import Surveyed
from maskwright.check.surveying import survey
from maskwright.check.tables import declared_table, settle
from maskwright.datasets.classes import CLASSES_FILE, UNLABELLED, ClassTable, Value
from maskwright.datasets.formats import find_layout
from maskwright.datasets.formats.layout import Layout
from maskwright.datasets.problems import Problem
from maskwright.errors import listed

__all__ = ["Audit", "audit", "check", "quick"]

PAGE = "check.html"
RESULT = "check.json"
CACHE = ".measured.jsonl"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a check found."""

    root: Path
    layout: Layout
    surveyed: Surveyed
    problems: tuple[Problem, ...]
    """Errors first."""
    notes: tuple[str, ...]
    """What was found and assumed, to be shown."""

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
        pixels = self.surveyed.split_pixels((None, "train", "val", "test"))
        return {
            "data": str(self.root),
            "format": self.layout.format,
            "samples": len(self.surveyed.samples),
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
                for index, item in enumerate(self.surveyed.table.classes)
            ],
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

    Args:
        path: a folder or file of any format that `open_dataset` reads.
        cache: a file that measurements are kept in, so that an interrupted check goes on where it stopped.
        workers: processes; by default one for each core.
        progress: called with the pairs read so far and their number.

    Raises:
        DataError: there is no data set at all. What is wrong within one is a finding.
        ClassTableError: the class table cannot be read.
    """
    root = Path(path)
    problems: list[Problem] = []
    layout = find_layout(root, problems=problems)
    declared = declared_table(layout)
    measured = survey(layout.samples, _ignored(layout, declared), cache=cache, workers=workers, progress=progress)
    labels = [
        (sample.mask.path.name, one.labels)
        for sample, one in zip(layout.samples, measured, strict=True)
        if one.labels is not None and sample.mask is not None
    ]
    settled = settle(layout, declared, labels)
    surveyed = Surveyed(
        samples=layout.samples,
        measured=tuple(measured),
        settled=settled,
        home=layout.table or layout.masks_folder.parent / CLASSES_FILE,
    )
    return Audit(
        root=root,
        layout=layout,
        surveyed=surveyed,
        problems=find_problems(surveyed, problems),
        notes=(*layout.notes, settled.note),
    )


def check(
    path: str | Path,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audit a data set and write `check.html` and `check.json` into the folder `out`, where the cache is kept too.

    Arguments and errors are those of `audit`; RunError if another check is writing there.
    """
    from maskwright.check.page import write_page

    with runs.locked(out):
        found = audit(path, cache=out / CACHE, workers=workers, progress=progress)
        write_page(out / PAGE, found)
        runs.write_json(out / RESULT, found.to_json())
    return found


def _ignored(layout: Layout, declared: ClassTable | None) -> frozenset[Value]:
    """The raw values that are known to be unlabelled before any mask is read."""
    if declared is None:
        return frozenset({UNLABELLED} if layout.masks_folder.name.lower() == "labels" else ())
    return frozenset(declared.unlabelled) | ({UNLABELLED} if not declared.claims(UNLABELLED) else set())
