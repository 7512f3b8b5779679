"""Which samples are held out of training for validation: neighbours stay together, so that scores are honest.

Video frames and slices of a stack resemble their neighbours; a random split puts near-copies of training images into
validation and flatters the score.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from maskwright.datasets.samples import Sample
from maskwright.datasets.sources import natural
from maskwright.errors import listed

_SHORTEST_SEQUENCE = 3
_MOST_SHOWN = 4
_NUMBER = re.compile("[0-9]+")


@dataclass(frozen=True)
class _Unit:
    """Samples that belong together, in natural order."""

    kind: Literal["group", "sequence", "single"]
    name: str
    members: tuple[Sample, ...]


def hold_out(
    samples: Sequence[Sample], fraction: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], str]:
    """Divide samples into training and validation.

    `round(fraction * n)` samples are held out, one at least (none of fewer than two samples, or with fraction 0). What
    belongs together is found first: samples with the same `group`, which is never divided; sequences, which are three
    names or more that differ only in one number (the last such, if there are several); and single samples. Then:

    - A sequence longer than the number to hold out gives one contiguous block, in proportion to its length, from its
      start or its end: only at one seam does a training sample have a validation neighbour.
    - Shorter sequences, groups and single samples are drawn at random until their proportion is reached. Sequences are
      taken whole; only the last one drawn may give a block, to meet the number.
    - Groups may be too large to meet the number exactly; if nothing else can be held out, the smallest one is. If all
      samples are of one group, it has to be divided as if it were none.

    Every draw is a hash of the seed and a name, so the result does not depend on the order of samples, on libraries or
    on the machine, and changes little when samples are added.

    Returns
    -------
    tuple[tuple[Sample, ...], tuple[Sample, ...], str]
        Training samples, validation samples (both in natural order of id), and a sentence that says how.
    """
    ordered = sorted(samples, key=lambda sample: natural(sample.id))
    assert len({sample.id for sample in ordered}) == len(ordered), "sample ids are unique"
    if fraction <= 0 or len(ordered) < 2:
        reason = "the fraction is 0" if fraction <= 0 else f"there {'is' if ordered else 'are'} only {len(ordered)}"
        return tuple(ordered), (), f"no sample is held out for validation: {reason}"
    target = min(max(1, round(fraction * len(ordered))), len(ordered) - 1)
    units, remark = units_of(ordered), ""
    if len(units) == 1 and units[0].kind == "group":
        units = units_of(ordered, by_group=False)
        remark = f"; all are of the group {ordered[0].group!r}, so validation resembles training"

    divided = {unit.name for unit in units if unit.kind == "sequence" and len(unit.members) > target}
    long = [unit for unit in units if unit.kind == "sequence" and unit.name in divided]
    pool = [unit for unit in units if unit.kind != "sequence" or unit.name not in divided]
    pooled = sum(len(unit.members) for unit in pool)
    *wanted, from_pool = _apportion(target, [len(unit.members) for unit in long] + [pooled])
    taken = [_block(unit, count, seed) for unit, count in zip(long, wanted, strict=True) if count]
    taken += _draw(pool, from_pool, seed, needed=not taken)

    held = {sample.id for unit in taken for sample in unit.members}
    kept = tuple(sample for sample in ordered if sample.id not in held)
    chosen = tuple(sample for sample in ordered if sample.id in held)
    how = f"{len(chosen)} of {len(ordered)} samples are held out for validation (seed {seed}): "
    return kept, chosen, how + _described(taken, units) + remark


def keep_every_class(
    kept: Sequence[Sample], held: Sequence[Sample], present: Mapping[str, frozenset[int]]
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], str]:
    """Give training back what only held-out samples show: each class, or the only labels there are.

    Parameters
    ----------
    kept, held
        Samples that train, and that validate.
    present
        Class indices that each sample's mask holds, by id; a sample without any has no label.

    Returns
    -------
    tuple[tuple[Sample, ...], tuple[Sample, ...], str]
        Training samples, validation samples, and a sentence on what was moved ("" if nothing was).
    """
    kept, held = list(kept), list(held)
    moved: list[Sample] = []
    while held:
        seen = frozenset[int]().union(*(present.get(sample.id, frozenset()) for sample in kept))
        lacking = [sample for sample in held if present.get(sample.id, frozenset()) - seen]
        if not lacking:
            break
        best = max(lacking, key=lambda sample: (len(present[sample.id] - seen), sample.id))
        # What belongs together stays together.
        with_it = [sample for sample in held if sample is best or (sample.group and sample.group == best.group)]
        moved += with_it
        kept += with_it
        held = [sample for sample in held if sample not in with_it]
    if not moved:
        return tuple(kept), tuple(held), ""
    ordered = sorted(kept, key=lambda sample: natural(sample.id))
    rest = "nothing is left to validate on" if not held else f"{len(held)} are left"
    names = listed([sample.id for sample in moved], _MOST_SHOWN)
    return tuple(ordered), tuple(held), f"; {names} back in training, for classes that no other sample shows ({rest})"


def units_of(ordered: Sequence[Sample], *, by_group: bool = True) -> list[_Unit]:
    """What belongs together: groups, then sequences, then single samples; see `hold_out`."""
    grouped: defaultdict[str, list[Sample]] = defaultdict(list)
    free: list[Sample] = []
    for sample in ordered:
        if by_group and sample.group is not None:
            grouped[sample.group].append(sample)
        else:
            free.append(sample)
    sequence_of = _sequences([sample.id for sample in free])
    sequences: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in free:
        sequences[sequence_of.get(sample.id, sample.id)].append(sample)
    units = [_Unit("group", name, tuple(members)) for name, members in grouped.items()]
    for name, members in sequences.items():
        if len(members) >= _SHORTEST_SEQUENCE:
            units.append(_Unit("sequence", name, tuple(members)))
        else:
            units += [_Unit("single", sample.id, (sample,)) for sample in members]
    return units


def _sequences(names: Sequence[str]) -> dict[str, str]:
    """For every name in a sequence, the sequence: the name with a star for the number that counts."""
    patterns = {
        # From the last number to the first: slices of patients are numbered last.
        name: [f"{name[: at.start()]}*{name[at.end() :]}" for at in reversed(list(_NUMBER.finditer(name)))]
        for name in names
    }
    sizes = Counter(pattern for each in patterns.values() for pattern in each)
    chosen = {
        name: next((pattern for pattern in each if sizes[pattern] >= _SHORTEST_SEQUENCE), None)
        for name, each in patterns.items()
    }
    return {name: pattern for name, pattern in chosen.items() if pattern is not None}


def _apportion(total: int, sizes: Sequence[int]) -> list[int]:
    """Divide `total` in proportion to sizes, by largest remainder; the earlier of equals first."""
    fractions = [total * size / sum(sizes) for size in sizes]
    parts = [int(fraction) for fraction in fractions]
    by_remainder = sorted(range(len(sizes)), key=lambda place: parts[place] - fractions[place])
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts


def _draw(pool: Sequence[_Unit], wanted: int, seed: int, *, needed: bool) -> list[_Unit]:
    """Random units with `wanted` samples together, as far as groups allow; at least one unit if `needed`."""
    if not pool or not wanted:
        return []
    taken: list[_Unit] = []
    left: list[_Unit] = []
    for unit in sorted(pool, key=lambda unit: chance(seed, "unit", unit.name)):
        if len(unit.members) <= wanted:
            taken.append(unit)
            wanted -= len(unit.members)
        else:
            left.append(unit)
    sequences = [unit for unit in left if unit.kind == "sequence"]
    if wanted and sequences:
        taken.append(_block(sequences[0], wanted, seed))
    elif wanted and left:
        smallest = min(left, key=lambda unit: len(unit.members))
        if len(smallest.members) < 2 * wanted or (needed and not taken):
            taken.append(smallest)
    return taken


def _block(sequence: _Unit, count: int, seed: int) -> _Unit:
    first = chance(seed, "end", sequence.name) % 2 == 0
    return _Unit("sequence", sequence.name, sequence.members[:count] if first else sequence.members[-count:])


def chance(seed: int, purpose: str, name: str) -> int:
    """A draw of 64 bits for a name, the same on every machine."""
    return int.from_bytes(blake2b(f"{seed}/{purpose}/{name}".encode(errors="surrogatepass"), digest_size=8).digest())


def _described(taken: Sequence[_Unit], units: Sequence[_Unit]) -> str:
    sizes = {unit.name: len(unit.members) for unit in units if unit.kind == "sequence"}
    sequences = [unit for unit in taken if unit.kind == "sequence"]
    blocks = [unit for unit in sequences if len(unit.members) < sizes[unit.name]]
    parts = []
    if blocks:
        ranges = [
            f"{unit.members[0].id} to {unit.members[-1].id} ({len(unit.members)} of {sizes[unit.name]})"
            if len(unit.members) > 1
            else f"{unit.members[0].id} (1 of {sizes[unit.name]})"
            for unit in blocks
        ]
        parts.append(
            f"{'a block of neighbours' if len(blocks) == 1 else 'blocks of neighbours'}, {listed(ranges, _MOST_SHOWN)}"
        )
    whole = [unit.name for unit in sequences if unit not in blocks]
    groups = [unit.name for unit in taken if unit.kind == "group"]
    singles = sum(unit.kind == "single" for unit in taken)
    parts += [f"{len(whole)} whole sequences, {listed(whole, _MOST_SHOWN)}"] if whole else []
    parts += [f"{len(groups)} whole groups, {listed(groups, _MOST_SHOWN)}"] if groups else []
    parts += [f"{singles} drawn at random"] if singles else []
    return "; ".join(parts)
