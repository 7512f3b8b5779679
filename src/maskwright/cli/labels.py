"""Verbs for ground truth: label, weak, labels import, labels export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskwright import console
from maskwright.cli import Json, Switch
from maskwright.errors import SettingError, listed

Target = Literal["folder", "coco", "voc", "yolo", "labelme"]


def label(
    folder: Path,
    *,
    run: Path | None = None,
    classes: Annotated[list[str] | None, Parameter(consume_multiple=True, negative_iterable="")] = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    person: Annotated[list[str] | None, Parameter(consume_multiple=True, negative_iterable="")] = None,
    browser: bool = True,
) -> None:
    """Label images in the browser: paint, fill, correct. Each stroke is saved at once.

    The folder becomes a labelling project; its images are never changed.

    Example: `maskwright label cells --classes background cell`

    Parameters
    ----------
    folder
        Folder of images, or a labelling project.
    run
        A run whose predictions are shown as suggestions.
    classes
        Names of classes, for a folder that has none yet; the page adds and renames them too.
    host
        Where the page listens: only this machine can open it by default; 0.0.0.0 lets the network in.
    port
        Port of the page; the first free one from 8610 on by default.
    person
        Who labels: each gets an address of their own, and the project notes who painted what. You, by default.
    browser
        Open the page in the browser.
    """
    from maskwright.label.store import Project
    from maskwright.web.labelling import first_classes, labelling_page
    from maskwright.web.serving import open_in_browser, place_for, serve

    people = person or [_user()]
    with Project(folder, classes=classes or first_classes(folder, run)) as project:
        suggester = None
        if run is not None:
            from maskwright.web.suggestions import Trained  # with torch, which nothing else here needs

            suggester = Trained(run, project)
        place = place_for(str(folder.resolve()), people, host=host, port=port)
        page = labelling_page(project, place.door, suggester)

        def ready() -> None:
            for name, address in place.addresses.items():
                console.say(f"Label {folder}{f' as {name}' if person else ''}: {address}")
            console.say("Every stroke is saved at once. Ctrl-C ends the page.")
            if browser:
                open_in_browser(place.addresses[people[0]])

        try:
            serve(page, place, ready=ready)
        finally:
            project.close()
            console.say("Ended; everything is saved.")


def _user() -> str:
    """Who runs the command; the author of what is labelled."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user, in a container
        return "somebody"


def weak(
    script: Path,
    folder: Path | None = None,
    *,
    new: Switch = False,
    preview: Switch = False,
    set: Annotated[list[str] | None, Parameter(negative_iterable="")] = None,
    method: Literal["dawid-skene", "majority"] = "dawid-skene",
    images: int = 4,
    out: Path = Path("weak.png"),
    workers: int | None = None,
    overwrite: Switch = False,
    json: Json = False,
) -> None:
    """Label a folder of images by a script; what humans labelled stays.

    The folder becomes a labelling project.

    Example: `maskwright weak nuclei.py cells`

    Parameters
    ----------
    script
        Python file with a function `label(image)`, or several that vote.
    folder
        Folder of images, or a labelling project.
    new
        Write SCRIPT, a commented starting point, with the classes of FOLDER if it is given.
    preview
        Only draw each function's votes on a few images, as one picture.
    set
        NAME=VALUE changes a parameter of the script; NAME=V1,V2,... only draws a contact sheet of its values.
    method
        How votes become labels: by reliabilities that are estimated (Dawid-Skene), or by majority.
    images
        Images on the picture of --preview and --set.
    out
        That picture.
    workers
        Processes; by default as many as cores, where there are images enough.
    overwrite
        Replace a file at --out that Maskwright did not write, or that was changed since.
    """
    if new:
        from maskwright.label.voters import starting_point
        from maskwright.runs import write_text

        if script.exists():
            raise SettingError(f"{script} exists.", remedy="Choose another name.", file=script)
        write_text(script, starting_point(folder))
        console.say(f"Wrote {script}. Next: maskwright weak {script} {folder or 'FOLDER'} --preview")
        return
    if folder is None:
        raise SettingError("Which images?", remedy=f"maskwright weak {script} FOLDER")
    changes, several = _changes(set or [])
    if preview or several:
        from maskwright.outputs import guarded_file

        with guarded_file(out, asked={"verb": "weak", "data": str(folder.resolve())}, overwrite=overwrite):
            _draw(script, folder, changes, several, images, out, json)
        return
    from maskwright.label import weak_page
    from maskwright.label.voters import read_script
    from maskwright.label.weak import FACTS, begin, label_by_script
    from maskwright.runs import read_json

    read = read_script(script, changes)
    with begin(folder, read) as project, console.counting("labelling") as progress:
        done = label_by_script(project, read, changes=changes, method=method, workers=workers, progress=progress)
        page = weak_page.write_page(project, read, done)
    if json:
        console.print_json({**read_json(done.folder / FACTS), "changed": done.changed, "page": str(page)})
    else:
        console.print_table(f"Votes on {folder}", weak_page.COLUMNS, weak_page.rows(done))
    for failure in done.failures[:10]:
        console.say(f"failed: {failure}")
    if len(done.failures) > 10:
        console.say(f"failed: {len(done.failures) - 10} more, all in {done.folder / FACTS}")
    if done.left_out:
        console.say(f"{len(done.left_out)} image(s) of the validation set left out")
    console.say(
        f"Labelled {done.labelled:.1%} of {len(done.images)} image(s), {done.changed} changed. With pictures: {page}"
    )


def _draw(
    script: Path,
    folder: Path,
    changes: dict[str, str],
    several: dict[str, list[str]],
    images: int,
    out: Path,
    json: bool,
) -> None:
    from maskwright.imaging.writing import write_picture
    from maskwright.label.sheets import parameter_sheet, vote_sheet
    from maskwright.label.voters import read_script

    if images < 1:
        raise SettingError(f"images = {images}: expected 1 or more.")
    if len(several) > 1:
        raise SettingError(
            f"--set gives several values to {' and '.join(several)}.",
            expected="Expected one parameter with several values.",
        )
    if several:
        ((name, values),) = several.items()
        sheet = parameter_sheet(script, folder, name, values, changes, images)
    else:
        sheet = vote_sheet(read_script(script, changes), folder, images)
    write_picture(out, sheet.picture)
    for failure in sheet.failures:
        console.say(f"failed: {failure}")
    if json:
        console.print_json({"images": sheet.images, "failures": [str(failure) for failure in sheet.failures]})
    console.say(f"Wrote {out}: {len(sheet.images)} image(s)")


def _changes(given: list[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Parameters with one value, and those with several."""
    one: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        parts = [part.strip() for part in values.split(",") if part.strip()]
        if not equals or not parts:
            raise SettingError(f"--set {text}: expected NAME=VALUE, or NAME=V1,V2,...")
        if len(parts) == 1:
            one[name.strip()] = parts[0]
        else:
            several[name.strip()] = parts
    return one, several


def import_(folder: Path, data: Path, *, replace: Switch = False, json: Json = False) -> None:
    """Take labels of a data set into a labelling project, as made by a human.

    The folder becomes a project if it is none.

    Example: `maskwright labels import cells annotations`

    Parameters
    ----------
    folder
        Folder of images, or a labelling project.
    data
        Images with masks, in any format that Maskwright reads; names tell which image a mask is for.
    replace
        Change pixels that a human labelled in the project, too.
    """
    from dataclasses import asdict

    from maskwright.label.exchange import import_labels

    with console.counting("importing") as progress:
        done = import_labels(folder, data, replace=replace, progress=progress)
    for note in done.notes:
        console.say(note)
    if done.left_out:
        console.say(f"{len(done.left_out)} sample(s) left out, since no image has their name: {listed(done.left_out)}")
    if done.kept:
        console.say(f"{done.kept:,} pixels that a human labelled otherwise stay; --replace changes them")
    if json:
        console.print_json(asdict(done))
    console.say(f"Imported labels of {done.images} image(s), {done.pixels:,} pixels, into {folder}")


def export(folder: Path, out: Path, *, to: Target, json: Json = False) -> None:
    """Write a labelling project's images and labels in another format, as `convert` does.

    Example: `maskwright labels export cells cells-coco --to coco`

    Parameters
    ----------
    folder
        The labelling project.
    out
        The folder to write; must be new or empty.
    to
        The format.
    """
    from maskwright.label.exchange import export_labels

    with console.counting("exporting") as progress:
        done = export_labels(folder, out, to, progress=progress)
    for text in (*(f"note: {note}" for note in done.notes), *(f"lost: {what}" for what in done.lost)):
        console.say(text)
    if json:
        console.print_json(done.to_json())
    console.say(f"Wrote {sum(done.images.values())} images with masks to {out} ({to})")
