"""Verbs for data: check, adopt, preview, convert."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskwright import console
from maskwright.cli import AugmentationOptions, Json, PreparationOptions, Recipe, Switch, TrainingOptions
from maskwright.config import Augmentation, Preparation, Settings, Training
from maskwright.errors import SettingError, refuse_failed


def check(
    data: Path, *, out: Path | None = None, fix: Path | None = None, overwrite: Switch = False, json: Json = False
) -> None:
    """Tell what is in a data set, and what is wrong with it; exits with 1 if there are errors.

    Example: `maskwright check cells`

    Parameters
    ----------
    data
        Folder or file of images and masks, in any format that `train` takes.
    out
        Folder for `check.html`, `check.json` and the cache; `checks/NAME` by default, with a number behind it where
        that holds the report of another data set.
    fix
        New folder for a copy with what can be corrected safely, corrected.
    overwrite
        Replace files in the folder of the page that Maskwright did not write, or that were changed since.
    """
    from maskwright.check.audit import PAGE
    from maskwright.check.audit import check as run_check
    from maskwright.check.fixing import RECORD
    from maskwright.check.fixing import fix as write_corrected
    from maskwright.check.place import report_folder
    from maskwright.outputs import guarded

    folder = out or report_folder(data, _name(data))
    try:
        asked = {"verb": "check", "data": str(data.resolve())}
        with guarded(folder, asked=asked, overwrite=overwrite), console.counting("checking") as progress:
            found = run_check(data, folder, progress=progress, overwrite=overwrite)
    except KeyboardInterrupt:
        console.say("The same command goes on where this one stopped.")
        raise
    fixed = None
    if fix is not None:
        with console.counting("writing the corrected copy") as progress:
            fixed = write_corrected(found, fix, progress=progress)
    page = folder / PAGE
    if json:
        console.print_json({**found.to_json(), "page": str(page), "fixed": None if fixed is None else fixed.to_json()})
    else:
        for note in found.notes:
            console.say(note)
        if found.refusal is not None:  # whose remedy has lines, and is worth them
            console.say(f"error: {found.refusal}")
        elif found.problems:
            console.print_table(f"Findings in {data}", ("level", "kind", "files", "what"), found.rows())
    if fixed is not None:
        console.say(
            f"Wrote {fixed.written} pairs to {fix}: {len(fixed.corrected)} corrected, {len(fixed.left_out)} left out"
            + (f"; not corrected: {', '.join(fixed.not_corrected)}" if fixed.not_corrected else "")
            + f". Each is in {fixed.out / RECORD}"
        )
    console.say(f"{found.errors} errors, {found.warnings} warnings. With pictures: {page}")
    if found.errors:
        sys.exit(1)


def adopt(
    data: Path,
    *,
    reading: Annotated[int, Parameter(name="--as")],
    out: Path | None = None,
    json: Json = False,
) -> None:
    """Accept a reading that a refusal proposes: writes manifest.csv and classes.toml, to edit.

    Example: `maskwright adopt cells --as 2`

    Parameters
    ----------
    data
        Folder of images and masks that another command could not read by itself.
    reading
        Number of the reading, as the refusal counts them.
    out
        Where to write, instead of into the data folder.
    """
    from maskwright.datasets.adopt import adopt as write

    done = write(data, reading, out)
    if json:
        console.print_json(
            {
                "reading": done.what,
                "samples": done.samples,
                "files": [str(path) for path in done.files],
                "classes": None if done.classes is None else done.classes.to_dict(),
                "remains": done.remains,
            }
        )
    console.say(f"{done.what}: {done.samples} images with masks")
    for path in done.files:
        console.say(f"Wrote {path}")
    if done.classes is not None:
        console.say(f"Classes: {done.classes.describe()}")
    console.say(done.remains or f"Next: maskwright check {out or data}")


def preview(
    data: Path,
    *,
    out: Path = Path("preview.png"),
    rows: int = 6,
    views: int = 4,
    recipe: Recipe = None,
    training: TrainingOptions = Training(),
    augmentation: AugmentationOptions = Augmentation(),
    preparation: PreparationOptions = Preparation(),
    overwrite: Switch = False,
    json: Json = False,
) -> None:
    """Draw a contact sheet of what the network will see: samples, augmented views, masks.

    Example: `maskwright preview cells/train --out cells.png`

    Parameters
    ----------
    data
        Folder of images and masks.
    out
        PNG or JPEG file to write.
    rows
        Samples shown, spread evenly over the training split.
    views
        Views of each.
    overwrite
        Replace a file that Maskwright did not write, or that was changed since.
    """
    from maskwright.augment.sheet import sheet, unwritten_names
    from maskwright.imaging.writing import write_picture
    from maskwright.outputs import guarded_file
    from maskwright.training.session import make_loader, prepare

    if rows < 1 or views < 0:
        raise SettingError(f"rows = {rows}, views = {views}: expected at least 1 row and 0 views.")
    given = Settings(training=training, augmentation=augmentation, preparation=preparation)
    with guarded_file(out, asked={"verb": "preview", "data": str(data.resolve())}, overwrite=overwrite):
        prepared = prepare(data, given, recipe=recipe, say=console.say)
        picture, listing = sheet(
            make_loader(prepared),
            prepared.splits.training.classes,
            rows=rows,
            views=views,
            title=str(data),
            notes=(prepared.splits.how,),
        )
        write_picture(out, picture)
    unwritten = unwritten_names(prepared.splits.training.classes)
    if unwritten:
        console.say(unwritten)
    if json:
        console.print_json(listing)
    console.say(f"Wrote {out}: {len(listing)} sample(s), {views} view(s) of each")


def convert(
    data: Path,
    out: Path,
    *,
    to: Literal["folder", "coco", "voc", "yolo", "labelme"],
    json: Json = False,
) -> None:
    """Write a data set in another format; lists what the format cannot hold.

    The data itself is only read.

    Example: `maskwright convert cells/train cells-coco --to coco`

    Parameters
    ----------
    data
        Images with masks, in any format that Maskwright reads.
    out
        The folder to write; must be new or empty.
    to
        The format.
    """
    from maskwright.convert import convert as write
    from maskwright.datasets.formats import open_dataset

    failed: dict[str, str] = {}
    dataset = open_dataset(data, failed=failed)
    for note in dataset.notes:
        console.say(note)
    with console.counting("converting") as progress:
        done = write(dataset, out, to, progress=progress, failed=failed)
    for note in done.notes:
        console.say(f"note: {note}")
    for text in done.lost:
        console.say(f"lost: {text}")
    if json:
        console.print_json(done.to_json())
    console.say(f"Wrote {sum(done.images.values())} images with masks to {out} ({to})")
    refuse_failed(failed, f"not be converted; the others are in {out}")


def _name(data: Path) -> str:
    """The data's name; for a split, its set's and its own."""
    place = data.resolve()
    return f"{place.parent.name}-{place.stem}" if place.name in ("train", "val", "test") else place.stem
