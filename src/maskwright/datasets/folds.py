"""The parts of cross-validation; `splits.py` says what belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import natural
from maskwright.datasets.splits import chance, units_of
from maskwright.errors import SettingError


def folds(samples: Sequence[Sample], count: int, seed: int) -> tuple[list[tuple[Sample, ...]], str]:
    """Divide samples into `count` parts for cross-validation; each is held out once.

    What belongs together (see `hold_out`) stays together: groups whole, a sequence of at least `count` samples in
    `count` blocks of neighbours, one for each part. Groups and shorter sequences go, the largest first, to the part
    that is smallest so far; single samples are dealt out at random. The same draws as `hold_out`'s.

    Returns
    -------
    tuple[list[tuple[Sample, ...]], str]
        The parts (each in natural order of id), and a sentence that says how.

    Raises
    ------
    SettingError
        Fewer samples, or fewer groups, than parts.
    """
    ordered = sorted(samples, key=lambda sample: natural(sample.id))
    units = units_of(ordered)
    if len(units) == 1 and units[0].kind == "group":
        units = units_of(ordered, by_group=False)
    parts: list[list[Sample]] = [[] for _ in range(count)]
    whole, divided = [], 0
    for unit in units:
        if unit.kind != "sequence" or len(unit.members) < count:
            whole.append(unit)
            continue
        divided += 1
        first = chance(seed, "fold", unit.name) % count
        edges = [round(len(unit.members) * part / count) for part in range(count + 1)]
        for part, (start, stop) in enumerate(pairwise(edges)):
            parts[(first + part) % count] += unit.members[start:stop]
    for unit in sorted(whole, key=lambda unit: (-len(unit.members), chance(seed, "unit", unit.name))):
        min(parts, key=len).extend(unit.members)
    if not all(parts):
        kept_whole = "" if len(units) == len(ordered) else f" in {len(units)} groups or sequences"
        raise SettingError(
            f"folds = {count}: the data has {len(ordered)} sample(s){kept_whole}, too few for {count} parts.",
            remedy="Use fewer folds, or label more images.",
        )
    found = [tuple(sorted(part, key=lambda sample: natural(sample.id))) for part in parts]
    groups = sum(unit.kind == "group" for unit in units)
    singles = sum(unit.kind == "single" for unit in units)
    how = [f"{divided} sequence{'s' * (divided > 1)} cut into blocks of neighbours"] if divided else []
    how += [f"{groups} groups kept whole"] if groups else []
    how += [f"{singles} single samples dealt out"] if singles else []
    short = len(whole) - groups - singles
    how += [f"{short} short sequences kept whole"] if short else []
    sizes = sorted({len(part) for part in found})
    held = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return found, f"{count} folds of {held} samples (seed {seed}): {', '.join(how)}"
