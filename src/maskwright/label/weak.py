"""Labels by script: run a script's functions on all images of a project, combine their votes, and label.

Two passes. The first computes votes and counts which occur together; from the counts of all images the reliability of
each function is estimated. The second combines each image's votes and gives its labels to the project, as patches of
the origin "script": pixels that a human labelled or accepted stay, and images of the validation set are left out.

What was done is kept in `FOLDER/weak/MARK/`: the script, `weak.json` with its parameters and figures, `report.html`,
and `confidence/NAME.png` (0 to 255). Running the same script again writes the same labels.

Shapes: J voters, K classes, H, W of an image.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskwright import runs
from maskwright.datasets.classes import UNLABELLED, ClassTable
from maskwright.datasets.sources import Source
from maskwright.errors import DataError
from maskwright.imaging.decoders import Window
from maskwright.imaging.writing import write_picture
from maskwright.label import votes
from maskwright.label.classes import values_of
from maskwright.label.figures import (
    Counts,
    ImageFigures,
    VoterFigures,
    conflicting,
    counted,
    counted_regions,
    figures,
    fit,
    probabilities,
    summed,
    true_accuracy,
)
from maskwright.label.patches import KEEP, Origin, Patch, encode
from maskwright.label.processes import each, processes
from maskwright.label.store import ImageState, Project
from maskwright.label.views import View, open_view
from maskwright.label.voters import Failure, Script, read_script

Method = Literal["dawid-skene", "majority"]
Progress = Callable[[int, int], None]

FOLDER = "weak"
"""In a project: what scripts did."""
CONFIDENCE = "confidence"
FACTS = "weak.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What workers need to know: the script, how to read it again, and the classes."""

    script: Path
    changes: Mapping[str, str]
    home: Path
    values: Mapping[str, int]
    """Class values by name; their order is that of class indices."""
    mark: str
    """`Script.mark`: the script may have been edited since this process read it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a script did to a project."""

    folder: Path
    """Where it is kept."""
    method: str
    voters: tuple[VoterFigures, ...]
    images: tuple[ImageFigures, ...]
    changed: int
    """Images whose labels are others than before."""
    left_out: tuple[str, ...]
    """Images of the validation set."""
    failures: tuple[Failure, ...]
    priors: dict[str, float] | None
    """How frequent classes are among superpixels, as the label model estimates."""
    true: float | None
    """Of the labels that are right where a human labelled."""

    @property
    def labelled(self) -> float:
        """Mean fraction of pixels labelled."""
        return float(np.mean([image.labelled for image in self.images])) if self.images else 0.0


def begin(folder: Path, script: Script) -> Project:
    """Open the project of a folder; one that is none becomes one, with the script's classes.

    Raises what `Project` does, and ClassTableError if the script names classes that the project lacks.
    """
    known = (folder / "maskwright.sqlite").is_file() or (folder / "classes.toml").is_file()
    return Project(folder, classes=None if known else script.classes, pause=None)


def class_values(script: Script, table: ClassTable) -> dict[str, int]:
    """Class values by name, in order of classes; raises DataError if the script has a class that the table lacks."""
    named = {name for voter in script.voters for name in (voter.of, voter.otherwise) if name} | {
        *(script.classes or ())
    }
    if strange := sorted(named - set(table.names)):
        raise DataError(
            f"{script.path} labels the class {strange[0]!r}, and the project has {', '.join(table.names)}.",
            expected="Expected classes of the project, by name.",
            remedy="Rename it in the script, or add the class to classes.toml.",
            file=script.path,
        )
    return dict(zip(table.names, values_of(table), strict=True))


def chosen_images(project: Project, script: Script) -> list[ImageState]:
    """The images to label: not those of the validation set, nor companions that the script names."""
    states = project.ready()
    names = {state.name for state in states}
    ends = tuple(f"{mark}{own}" for own in script.companions for mark in "_-.")
    companions = {n for n in names for end in ends if n.endswith(end) and n.removesuffix(end) in names}
    return [state for state in states if not state.validation and state.name not in companions]


def values_to_indices(values: Mapping[str, int]) -> np.ndarray:
    """Class indices by class value, 255 for all others."""
    table = np.full(256, UNLABELLED, np.uint8)
    table[list(values.values())] = np.arange(len(values))
    return table


def votes_of(script: Script, view: View, values: Mapping[str, int]) -> tuple[np.ndarray, list[Failure]]:
    """The votes of a script's functions on an image, class indices `J x H x W`, and which failed."""
    given = [script.vote(voter, view, values) for voter in script.voters]
    return values_to_indices(values)[np.stack([one for one, _ in given])], [failure for _, failure in given if failure]


def label_by_script(
    project: Project,
    script: Script,
    *,
    changes: Mapping[str, str] | None = None,
    method: Method = "dawid-skene",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Label a project's images by a script.

    Parameters
    ----------
    project
        Open; its label files are written when this returns.
    script
        As `read_script` gave it with `changes`.
    method
        How votes become labels: `votes.dawid_skene`, or `votes.majority`.
    workers
        Processes; by default as many as there are cores, where images are enough to keep them busy.
    progress
        Called with steps done and of all; each image takes two.

    Raises
    ------
    DataError
        An image cannot be read, or every function failed on every image.
    """
    states = chosen_images(project, script)
    if not states:
        raise DataError(f"{project.folder} has no image to label.", expected="All are of the validation set.")
    values = class_values(script, project.classes)
    job = Job(script=script.path, changes=dict(changes or {}), home=project.folder, values=values, mark=script.mark)
    tell = progress or (lambda done, total: None)
    out = project.folder / FOLDER / script.mark
    (out / CONFIDENCE).mkdir(parents=True, exist_ok=True)
    with _scratch(out) as scratch, processes(workers, len(states)) as pool:
        found: list[Counts] = []
        for counts in each(pool, _vote, ((job, state, _human(project, state, job), scratch) for state in states)):
            found.append(counts)
            tell(len(found), 2 * len(states))
        total = summed(found)
        if len(total.failures) == len(script.voters) * len(states):
            raise DataError(
                f"Every function of {script.path} failed on every image. {total.failures[0]}", file=script.path
            )
        reliability = fit(total, len(script.voters), len(job.values)) if method == "dawid-skene" else None
        images, changed = [], 0
        given = ((job, state, scratch, reliability, out / CONFIDENCE) for state in states)
        for place_of, (labels, conflict) in enumerate(each(pool, _combine, given)):
            state = states[place_of]
            changed += _apply(project, state, labels, f"{script.path.name} {script.mark}")
            images.append(
                ImageFigures(name=state.name, labelled=float((labels != UNLABELLED).mean()), conflict=conflict)
            )
            tell(len(states) + len(images), 2 * len(states))
    project.save()
    outcome = Outcome(
        folder=out,
        method="one function" if script.simple else method,
        voters=tuple(figures(script, total, reliability, len(job.values))),
        images=tuple(images),
        changed=changed,
        left_out=tuple(state.name for state in project.images() if state.validation),
        failures=tuple(total.failures),
        priors=None
        if reliability is None or script.simple
        else dict(zip(job.values, reliability.priors_K.round(6).tolist(), strict=True)),
        true=true_accuracy(total, reliability, script, len(job.values)),
    )
    _keep(outcome, script, method)
    return outcome


def _human(project: Project, state: ImageState, job: Job) -> np.ndarray | None:
    """What a human labelled of an image, as class indices; None for nothing."""
    labels = project.read(state.name)
    own = labels.origins == Origin.HUMAN
    return np.where(own, values_to_indices(job.values)[labels.values], np.uint8(UNLABELLED)) if own.any() else None


_scripts: dict[tuple[Path, str], Script] = {}
"""The script that this process has read, by file and mark."""


def _script(job: Job) -> Script:
    key = (job.script, job.mark)
    if key not in _scripts:
        _scripts.clear()
        _scripts[key] = read_script(job.script, job.changes)
    return _scripts[key]


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder for votes on their way; within the project, whose lock is held, so that a killed call's goes with it."""
    folder = out / ".votes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _vote(job: Job, state: ImageState, human: np.ndarray | None, scratch: Path) -> Counts:
    script = _script(job)
    view = open_view(Source(path=job.home / state.file, page=state.page), state.name, job.home)
    votes_JHW, failures = votes_of(script, view, job.values)
    counts = Counts(pixels=counted(votes_JHW), failures=failures)
    regions_HW = view.superpixels(script.superpixel) if script.superpixel > 1 and not script.simple else None
    counts.regions = counted_regions(votes_JHW, regions_HW, len(job.values))
    if human is not None:
        told = human != UNLABELLED
        counts.human = counted(np.concatenate([votes_JHW, human[None]])[:, told][:, None])
    np.savez_compressed(
        scratch / f"{state.id}.npz",
        votes=votes_JHW,
        valid=view.valid,
        regions=np.zeros(0, np.int32) if regions_HW is None else regions_HW,
    )
    return counts


def _combine(
    job: Job, state: ImageState, scratch: Path, reliability: votes.Reliability | None, confidences: Path
) -> tuple[np.ndarray, float]:
    """Labels of an image (class values, 255 unlabelled), and the fraction of pixels whose votes conflict."""
    script, classes = _script(job), len(job.values)
    with np.load(scratch / f"{state.id}.npz") as stored:
        votes_JHW, valid = stored["votes"], stored["valid"]
        regions_HW = stored["regions"] if stored["regions"].size else None
    (scratch / f"{state.id}.npz").unlink()
    if script.simple:
        mask_HW, sure_HW = votes_JHW[0], (votes_JHW[0] != UNLABELLED).astype(np.float64)
    else:
        mask_HW, sure_HW = combined(votes_JHW, regions_HW, reliability, classes, script.confidence)
    mask_HW = np.where(valid, mask_HW, np.uint8(UNLABELLED))
    write_picture(confidences / f"{state.name}.png", np.rint(sure_HW * 255 * valid).astype(np.uint8))
    values = np.full(256, UNLABELLED, np.uint8)
    values[: len(job.values)] = list(job.values.values())
    patterns, places = votes.patterns_of(votes_JHW)
    return values[mask_HW], float(conflicting(patterns)[places].mean())


def combined(
    votes_JHW: np.ndarray,
    regions_HW: np.ndarray | None,
    reliability: votes.Reliability | None,
    classes: int,
    confidence: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of an image from its votes (class indices, 255 where they are not settled), and their probability.

    `reliability` None takes the majority; `regions_HW` None each pixel for itself.
    """
    patterns, places_HW = votes.patterns_of(votes_JHW)
    chances_PK = probabilities(reliability, patterns, classes)
    if regions_HW is None:
        labels_P, sure_P = votes.decide(chances_PK, confidence)
        return labels_P[places_HW], sure_P[places_HW]
    # What a pixel gets depends on its own pattern and on its superpixel's: each pair is decided once.
    region_patterns, region_places = votes.patterns_of(votes.per_region(votes_JHW, regions_HW, classes)[:, None])
    region_chances_RK = probabilities(reliability, region_patterns, classes)
    labels_PR, sure_PR = votes.decide(votes.refined(chances_PK[:, None], region_chances_RK[None]), confidence)
    pattern_of_region_HW = region_places[0][regions_HW]
    return labels_PR[places_HW, pattern_of_region_HW], sure_PR[places_HW, pattern_of_region_HW]


def _apply(project: Project, state: ImageState, labels: np.ndarray, author: str) -> bool:
    """Give an image its labels; False if it has them already."""
    before = project.read(state.name)
    free = (before.origins == Origin.UNLABELLED) | (before.origins == Origin.SCRIPT)
    cells = np.where(free & (before.values != labels), labels, np.uint16(KEEP))
    if (cells == KEEP).all():
        return False
    project.apply(
        Patch(
            image=state.name, base=before.revision, author=author, seconds=0.0, box=Window(0, 0, *state.shape),
            payload=encode(cells), origin=Origin.SCRIPT,
        )
    )  # fmt: skip
    return True


def _keep(outcome: Outcome, script: Script, method: str) -> None:
    runs.write_text(outcome.folder / script.path.name, script.text)
    runs.write_json(outcome.folder / FACTS, facts(outcome, script, method))


def facts(outcome: Outcome, script: Script, method: str) -> dict[str, Any]:
    """What was done, as plain values."""
    return {
        "script": script.path.name,
        "parameters": script.parameters,
        "superpixel": script.superpixel,
        "confidence": script.confidence,
        "method": method,
        "software": runs.software(),
        "priors": outcome.priors,
        "true_accuracy": outcome.true,
        "voters": [vars(one) for one in outcome.voters],
        "images": [vars(one) for one in outcome.images],
        "left_out": outcome.left_out,
        "failures": [str(one) for one in outcome.failures],
    }
