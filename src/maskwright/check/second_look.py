"""The second look of the precheck: measure some pairs, and ask the rules that a few pairs suffice for."""

from __future__ import annotations

from collections.abc import Callable

from maskwright.check import leaks, mask_values, misalignment, scan_result
from maskwright.check.measure import measure
from maskwright.check.scan_result import ScanResult, Settled
from maskwright.datasets.classes import UNLABELLED
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import Dataset, Sample


def findings_in(dataset: Dataset, chosen: tuple[Sample, ...]) -> tuple[Problem, ...]:
    """What the rules that a few pairs suffice for find in some of a data set's samples, errors first: see `precheck`.

    Of all samples, only the files and the groups are compared.
    """
    table = dataset.classes
    ignored = frozenset(table.unlabelled) | (set() if table.claims(UNLABELLED) else {UNLABELLED})
    scanned = ScanResult(
        samples=chosen,
        measured=tuple(measure(sample, ignored) for sample in chosen),
        settled=Settled(table, ""),
        home=dataset.root,
    )
    rules: list[Callable[[ScanResult], list[Problem]]] = [
        scan_result.unreadable_files, misalignment.size_mismatches, mask_values.undeclared_values,
        *([mask_values.everything_unlabelled] if len(chosen) == len(dataset.samples) else []),
        scan_result.mixed_images,
        lambda scanned: leaks.same_files(dataset.samples) + leaks.groups_in_two_splits(dataset.samples),
        misalignment.misplaced_masks, mask_values.interpolated_masks, mask_values.jpeg_masks,
    ]  # fmt: skip
    found = [problem for rule in rules for problem in rule(scanned)]
    return tuple(sorted(found, key=lambda problem: problem.level != "error"))
