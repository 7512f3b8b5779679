"""A manifest: one CSV file with a row for each image.

    DATA/manifest.csv                   any name; or train.csv, val.csv, test.csv; or the file itself in place of DATA

    image,mask,split,group              the first line; split and group (patient, slide, video) may be left out,
    scans/a.tif,truth/a.png,train,p01   and valid (0 where the image has no data) may follow
    scans/b.tif,truth/b.png,val,p02

    image,mask:crack,mask:lane          a mask for each class instead; where they overlap, the later column is on top
    a.jpg,a_CRACK.png,a_1.png|a_2.png   several masks in a cell are objects of one class, set apart by |

    a_red.tif|a_nir.tif,a.png           several images in a cell are the bands of one, in this order

    image,mask,rater:second             masks of another observer: `check` says how well they agree

Paths are relative to the CSV file. Columns are told by their names, in any order and case, separated by commas,
semicolons or tabs. Other columns are not read, with a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maskwright.datasets.classes import ClassTable, LabelClass
from maskwright.datasets.formats.bands import Bands
from maskwright.datasets.formats.layout import SPLITS, Layout, found, is_labels, split_named, table_in
from maskwright.datasets.formats.pairing import names_of
from maskwright.datasets.formats.several import Layered
from maskwright.datasets.problems import Problem, report
from maskwright.datasets.samples import Sample, Source
from maskwright.datasets.texts import first_line, may_be_path, read_rows
from maskwright.errors import DataError, EmptyDataError, PairingError, listed
from maskwright.imaging.colors import default_color

_COLUMNS = ("image", "mask", "split", "group", "valid")
_LAYER = "mask:"
"""What the name of a column starts with that holds the masks of one class."""
_RATER = "rater:"
"""What the name of a column starts with that holds the masks of another observer."""


def read(root: Path, *, masks: bool, problems: list[Problem] | None) -> Layout | None:
    """Read the manifest of a folder, or a manifest itself; see `layout.Reader`.

    Raises
    ------
    DataError
        Two files may be the manifest; a split that is none.
    PairingError
        A file does not exist, or a row has no mask (noted in `problems`, if it is a list).
    """
    if root.is_file():
        files = [root] if root.suffix.lower() in (".csv", ".tsv") else []
    else:
        files = sorted([*root.glob("*.csv"), *root.glob("*.tsv")]) if root.is_dir() else []
    files = [path for path in files if _is_manifest(_header(path)[0])]
    if not files:
        return None
    files = [path for path in files if path.name == "manifest.csv"] or files  # what `adopt` writes comes first
    if len(files) > 1 and any(split_named(path.stem) is None for path in files):
        both = " and ".join(path.name for path in files)
        raise DataError(
            f"{root} has {both}, and each reads as the list of its images and masks.",
            expected="Expected one, or train.csv, val.csv and test.csv.",
            remedy="Give the file to be read itself, or move the others elsewhere.",
            file=root,
        )
    rows = [(path, number, row) for path in files for number, row in _rows(path)]
    entries = [
        (path, row, sources)
        for path, number, row in rows
        if (sources := _sources(path, number, row, masks=masks, problems=problems)) is not None
    ]
    names = names_of([sources["image"].path for _, _, sources in entries])
    samples: dict[str, Sample] = {}
    raters: dict[str, tuple[tuple[str, Source], ...]] = {}
    for (path, row, sources), name in zip(entries, names, strict=True):
        split = split_named(row.get("split") or path.stem)
        key = name if split is None else f"{split}/{name}"
        if key in samples:
            what = f"{path} has two rows for the image {sources['image'].path}."
            problem = Problem(
                level="error", kind="duplicate-stem", files=(path,), what=what, remedy="Expected one. Remove the other."
            )
            report(problems, problem, PairingError)
            continue
        samples[key] = Sample(
            id=key,
            image=sources["image"],
            mask=sources.get("mask"),
            valid=sources.get("valid"),
            group=row.get("group") or None,
            split=split,
        )
        observers = [
            (name.removeprefix(_RATER), Source(path=source.path))
            for name, source in sources.items()
            if name.startswith(_RATER)
        ]
        if observers:
            raters[key] = tuple(observers)
    if not samples and not problems:
        raise EmptyDataError(
            f"{files[0]} lists no image that can be used.", expected="Expected a row for each, after the header."
        )
    others = [
        name
        for path in files
        for name in _header(path)[0]
        if name not in _COLUMNS and not name.startswith((_LAYER, _RATER))
    ]
    notes = [f"{files[0].name}: columns not read: {listed(others)}"] if others else []
    groups = {sample.group for sample in samples.values()} - {None}
    notes += [f"column group: {len(groups)} groups, none of which is divided"] if groups else []
    truth = next((sample.mask.path.parent for sample in samples.values() if sample.mask), root)
    return Layout(
        format="manifest",
        samples=tuple(samples.values()),
        masks_folder=truth,
        # A class table beside a manifest says what 255 is, whatever the folder of the masks is called.
        unlabelled_255=is_labels(truth) and table_in(root) is None,
        classes=_layered_classes(files),
        raters=raters,
        home=files[0].parent,
        table=table_in(root),
        notes=(found(root, f"manifest {listed([p.name for p in files])}", list(samples.values()), masks=masks), *notes),
    )


def _is_manifest(names: Sequence[str]) -> bool:
    return "image" in names and any(name == "mask" or name.startswith(_LAYER) for name in names)


def _layered_classes(files: Sequence[Path]) -> ClassTable | None:
    """Background, and a class for each column of masks; None where there are none."""
    names = list(dict.fromkeys(name for path in files for name in _header(path)[0] if name.startswith(_LAYER)))
    if not names:
        return None
    classes = ["background", *(name.removeprefix(_LAYER) for name in names)]
    return ClassTable(
        classes=tuple(
            LabelClass(name=name, color=default_color(index, name), values=(index,))
            for index, name in enumerate(classes)
        )
    )


def _header(path: Path) -> tuple[list[str], str]:
    """Names of the columns, and what separates them; no names where the file is no text."""
    try:
        line = first_line(path)
    except OSError:
        return [], ","
    separator = max(",;\t", key=line.count)
    return [_column(name.strip().strip('"')) for name in line.split(separator)], separator


def _column(name: str) -> str:
    """A column's name in lower case, but for the class or the observer that it names."""
    kind, colon, named = name.partition(":")
    return f"{kind.lower()}{colon}{named.strip()}" if colon and f"{kind.lower()}:" in (_LAYER, _RATER) else name.lower()


def _rows(path: Path) -> list[tuple[int, Mapping[str, str]]]:
    """Rows with their line numbers."""
    names, separator = _header(path)
    numbered = read_rows(path, separator)
    for number, row in numbered:
        wrong = next((cell for cell in row if not all(may_be_path(part.strip()) for part in cell.split("|"))), None)
        if wrong is not None:
            raise DataError(
                f"{path}, line {number}: {wrong[:60]!r}... is no path.",
                expected="Expected names of files.",
                remedy="Correct the row.",
                file=path,
            )
    return [(number, dict(zip(names, [cell.strip() for cell in row], strict=False))) for number, row in numbered]


def _sources(
    path: Path, number: int, row: Mapping[str, str], *, masks: bool, problems: list[Problem] | None
) -> dict[str, Source] | None:
    """The files of a row; None if one of them is missing, which is reported."""
    split = row.get("split")
    if split and split_named(split) is None:
        raise DataError(
            f"{path}, line {number}: split = {split!r}.",
            expected=f"Expected {', '.join(SPLITS)}, or nothing.",
            remedy="Correct the row.",
            file=path,
        )
    sources: dict[str, Source] = {}
    layers = [name for name in row if name.startswith(_LAYER)]
    raters = [name for name in row if name.startswith(_RATER)]
    for column in ["image", *([] if layers else ["mask"]), "valid", *raters] if masks else ["image", "valid"]:
        written = [cell for cell in row.get(column, "").split("|") if cell.strip()]
        if not written and column not in ("image", "mask"):
            continue
        places = [path.parent / cell.strip().replace("\\", "/") for cell in written]
        missing = next((place for place in places if not place.is_file()), None)
        if places and missing is None:
            one = Source(path=places[0])
            several: Source = Layered(path=places[0], paths=tuple(places), numbers=(1,) * len(places))
            if column == "image":
                several = Bands(path=places[0], bands=tuple(places))
            sources[column] = one if len(places) == 1 else several
            continue
        _report_missing(path, number, column, missing, problems)
        return None
    if masks and layers:
        parts = [
            (path.parent / cell.strip().replace("\\", "/"), index)
            for index, name in enumerate(layers, 1)
            for cell in row[name].split("|")
            if cell.strip()
        ]
        missing = next((place for place, _ in parts if not place.is_file()), None)
        if missing is not None or not parts:
            _report_missing(path, number, "mask", missing, problems)
            return None
        paths, numbers = zip(*parts, strict=True)
        sources["mask"] = Layered(path=paths[0], paths=paths, numbers=numbers)
    return sources


def _report_missing(path: Path, number: int, column: str, missing: Path | None, problems: list[Problem] | None) -> None:
    if missing is None:
        what = f"has no {column}"
    else:
        shown = missing.relative_to(path.parent).as_posix() if missing.is_relative_to(path.parent) else missing
        what = f"names {shown}, which does not exist"
    problem = Problem(
        level="error",
        kind="unpaired",
        files=(path, *([missing] if missing is not None else [])),
        what=f"{path}, line {number}, {what}.",
        remedy=f"Expected a path relative to {path.parent}. Correct the row, add the file, or remove the row.",
    )
    report(problems, problem, PairingError)
