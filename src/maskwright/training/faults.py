"""Bad samples: found before the hours are spent where that is cheap, and told by name; and which files changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maskwright import runs
from maskwright.augment.loader import Store
from maskwright.datasets.samples import Dataset, Sample
from maskwright.errors import DataError, RunError, listed
from maskwright.planning.decisions import Budget
from maskwright.processes import available_cores
from maskwright.training import distributed
from maskwright.training.split import Say

FRACTION = 0.05
"""Of a budget of minutes that decoding everything once may take before training."""
SECONDS = 30.0
"""That it may take before training for a number of steps, or where the budget is not known yet."""


def decode_all(
    store: Store, samples: Sequence[Sample], budget: Budget | None, say: Say
) -> tuple[dict[str, str], list[Sample]]:
    """Decode every sample once, as long as there is time for it.

    Returns
    -------
    tuple[dict[str, str], list[Sample]]
        What is wrong with those that fail, by id; and those that the time did not suffice for, which the loader decodes
        in its idle time.
    """
    start = time.monotonic()
    limit = SECONDS if budget is None or budget.steps else FRACTION * 60 * budget.minutes
    failed: dict[str, str] = {}
    left: list[Sample] = []

    def decode(sample: Sample) -> None:
        if time.monotonic() - start > limit:
            left.append(sample)
            return
        try:
            store.get(sample)
        except DataError as error:
            failed[sample.id] = str(error)

    with ThreadPoolExecutor(min(8, available_cores())) as pool:
        list(pool.map(decode, samples))
    seconds = time.monotonic() - start
    if seconds > 1:
        rest = "; the others are decoded meanwhile" if left else ""
        say(f"Decoded {len(samples) - len(left)} of {len(samples)} samples once, in {seconds:.1f} s{rest}")
    return {sample.id: failed[sample.id] for sample in samples if sample.id in failed}, left


def refuse_bad(failed: dict[str, str], most: int) -> None:
    """Raise DataError, naming samples that cannot be read, if there are more than `most`."""
    if len(failed) > most:
        raise DataError(
            f"{len(failed)} samples cannot be read: {listed(list(failed))}.\n  "
            + "\n  ".join(list(failed.values())[:5]),
            expected="Expected samples that can be decoded, alike in channels and type.",
            remedy=f"Repair or remove them, or train without them: --max-bad {len(failed)}.",
        )


def refuse_used(run: Path) -> None:
    """Raise RunError if another process has trained here since the folder was looked at, which takes time."""
    if distributed.rank() == 0 and (run / runs.RUN).exists():
        raise RunError(f"{run} holds a run already.", remedy=f"Continue it: maskwright train --resume {run}", file=run)


def readable(store: Store, samples: Sequence[Sample], most: int, say: Say) -> Sequence[Sample]:
    """The samples without those that cannot be read; all, unread, if none may be skipped. Raises as `refuse_bad`."""
    if not most:
        return samples
    bad, _ = decode_all(store, samples, None, say)
    refuse_bad(bad, most)
    return tuple(sample for sample in samples if sample.id not in bad)


def remember_files(run: Path, *datasets: Dataset) -> None:
    """Write down a hash of each sample's files, so that a resumed run can name what changed."""
    runs.write_json(run / runs.FILES, {key: value for one in datasets for key, value in one.sample_hashes().items()})


def check_same(run: Path, known: dict[str, object], dataset: Dataset, path: Path, *, accept: bool, say: Say) -> bool:
    """Whether a data set is the one that the run began with.

    With `accept`, samples may have other contents, and they are named. Raises RunError otherwise, or if there are
    other samples than then.
    """
    found = dataset.content_hash()
    if found == known:
        return True
    told = ", ".join(f"{key}: {known.get(key)} then, {found[key]} now" for key in found if found[key] != known.get(key))
    before = runs.read_json(run / runs.FILES) if (run / runs.FILES).exists() else {}
    now = dataset.sample_hashes()
    same_samples = found["samples"] == known.get("samples") and (not before or now.keys() <= before.keys())
    changed = [name for name, digest in now.items() if before.get(name) != digest]
    told += f"; samples: {listed(changed)}" if before and changed else ""
    if not same_samples or not accept:
        raise RunError(
            f"{run} cannot be resumed: the data in {path} changed since it began ({told}).",
            expected="Expected the same samples.",
            remedy="Restore them"
            + (", or go on with them as they are now: --accept-changed." if same_samples else ", or start a new run."),
        )
    say(f"Going on with changed data ({told})")
    return False
