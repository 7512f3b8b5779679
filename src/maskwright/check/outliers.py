"""Images unlike the rest, channels that say nothing, and 16-bit files that use fewer bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskwright.check.scan_result import Picture, ScanResult
from maskwright.datasets.problems import Problem
from maskwright.datasets.samples import GREY_AMONG, Sample
from maskwright.errors import listed

__all__ = ["dead_channels", "far_images", "sentinel_values", "unused_bits"]

_FEWEST = 6
"""Images from which one can be unlike the rest."""
_TIMES_LARGER = 2.0
_TIMES_LONGER = 1.6
_BRIGHTER = 0.4
"""Difference of mean brightness, of the range that most images span."""
_WHOLE = 0.999
_SOME_NAN = 0.001


def far_images(scanned: ScanResult) -> list[Problem]:
    """Images far from the rest in channels, size or brightness: those with next to none like them."""
    pictures = scanned.pictures
    if len(pictures) < _FEWEST:
        return []
    problems = []
    layouts = Counter((len(picture.channels), picture.dtype) for _, picture in pictures)
    (channels, dtype), most = layouts.most_common(1)[0]
    alike = []
    for sample, picture in pictures:
        if (len(picture.channels), picture.dtype) == (channels, dtype):
            alike.append((sample, picture))
        elif picture.dtype == dtype and {len(picture.channels), channels} == {1, GREY_AMONG}:
            found = f"has {_channels(len(picture.channels))} of {picture.dtype}"
            problems.append(
                _far(sample, "channels", f"{found}; {most} of {len(pictures)} images have {channels} of {dtype}")
            )
    log_area = np.log([picture.shape[0] * picture.shape[1] for _, picture in pictures])
    # Upright or on its side makes no difference.
    log_aspect = np.log([max(picture.shape) / min(picture.shape) for _, picture in pictures])
    far = _isolated(log_area, np.log(_TIMES_LARGER)) | _isolated(log_aspect, np.log(_TIMES_LONGER))
    middle = int(np.argsort(log_area)[len(log_area) // 2])
    usual = pictures[middle][1].shape
    for place in np.flatnonzero(far).tolist():
        sample, picture = pictures[place]
        text = f"is {picture.shape[1]} x {picture.shape[0]} pixels; the image of middle size is {usual[1]} x {usual[0]}"
        problems.append(_far(sample, "size", text))
    return problems + _far_in_brightness(alike)


def _far_in_brightness(pictures: Sequence[tuple[Sample, Picture]]) -> list[Problem]:
    if len(pictures) < _FEWEST:
        return []
    means = np.array([np.mean([channel.mean for channel in picture.channels]) for _, picture in pictures])
    spans = [np.mean([c.quantiles[-2] - c.quantiles[1] for c in picture.channels]) for _, picture in pictures]
    span = float(np.quantile(spans, 0.75))
    if span <= 0:
        return []
    far = _isolated(means, _BRIGHTER * span)
    return [
        _far(
            pictures[place][0],
            "brightness",
            f"has the mean value {means[place]:.4g}; the middle of the set is {np.median(means):.4g}, and its images "
            f"span about {span:.4g}",
        )
        for place in np.flatnonzero(far).tolist()
    ]


def dead_channels(scanned: ScanResult) -> list[Problem]:
    """Channels that are constant or not finite, in the whole set or in single images."""
    problems = []
    by_layout: dict[int, list[tuple[Sample, Picture]]] = {}
    for sample, picture in scanned.pictures:
        by_layout.setdefault(len(picture.channels), []).append((sample, picture))
    for channels, pictures in by_layout.items():
        for channel in range(channels):
            dead = [
                (sample, picture, words)
                for sample, picture in pictures
                if (words := _dead(picture, channel)) is not None
            ]
            if len(dead) == len(pictures) > 1:
                kind = "nan-channel" if "NaN" in dead[0][2] else "constant-channel"
                problems.append(
                    Problem(
                        level="warning",
                        kind=kind,
                        files=tuple(sample.image.path for sample, _, _ in dead),
                        what=f"Channel {channel + 1} of {channels} is {_said(kind)} in all {len(dead)} images.",
                        remedy="It says nothing, and costs time: train without it, with --bands.",
                        sample=dead[0][0].id,
                    )
                )
                continue
            problems += [_dead_problem(sample, channel, channels, words) for sample, _, words in dead]
    return _merged(problems)


def sentinel_values(scanned: ScanResult) -> list[Problem]:
    """Values far outside of all others, the same in several images: "no data" that no file declares."""
    found: dict[float, list[Sample]] = {}
    for sample, picture in scanned.pictures:
        if picture.dtype == "uint8":
            continue
        for value in {value for channel in picture.channels for value in _far_ends(channel.quantiles)}:
            found.setdefault(value, []).append(sample)
    problems = []
    for value, samples in found.items():
        if len(samples) < max(2, 0.1 * len(scanned.pictures)):
            continue
        problems.append(
            Problem(
                level="warning",
                kind="sentinel",
                files=tuple(sample.image.path for sample in samples),
                what=f"The value {value:g} lies far outside of all others in {len(samples)} of {len(scanned.pictures)} "
                'images: it looks like "no data" that the files do not declare.',
                remedy="As it is, it counts as a measurement and spoils mean and standard deviation. Declare it "
                f"(gdal_edit.py -a_nodata {value:g} FILE), mark those pixels in valid/, or cut it off (--clip 1 99).",
                sample=samples[0].id,
            )
        )
    return problems


def _far_ends(quantiles: tuple[float, ...]) -> list[float]:
    """The ends of a channel's values that lie away from the others by three times the others' range."""
    ends = []
    for end in (quantiles[0], quantiles[-1]):
        others = [value for value in quantiles if value != end]
        if len(others) < _FEWEST_QUANTILES:
            continue
        low, high = min(others), max(others)
        if high > low and min(abs(end - low), abs(end - high)) > _TIMES_RANGE * (high - low):
            ends.append(end)
        elif end in _USUAL and high > 0:
            # So many pixels hold it that a quantile falls between it and the others: the middle and above are theirs.
            middle = float(np.median(others))
            if middle >= 0 and middle - end > _TIMES_RANGE * (high - middle):
                ends.append(end)
    return ends


_TIMES_RANGE = 3.0
_FEWEST_QUANTILES = 4
_USUAL = (-999, -9999, -99999, -32767, -32768)
"""Values that are written for "no data" more often than they are measured."""


def unused_bits(scanned: ScanResult) -> list[Problem]:
    """16-bit images whose values fit into 8 or 12 bits, or were 8 bits once."""
    wide = [(sample, picture) for sample, picture in scanned.pictures if picture.dtype == "uint16"]
    if not wide:
        return []
    tops = np.array([max(channel.quantiles[-1] for channel in picture.channels) for _, picture in wide])
    steps = np.array([picture.step for _, picture in wide])
    whole = None
    if tops.max() <= 255:
        whole = f"none of the {len(wide)} 16-bit images has a value above 255: they use 8 bits"
    elif (steps % 16 != 1).all() and (steps > 1).all():
        whole = (
            f"all values of the {len(wide)} 16-bit images are multiples of {int(np.gcd.reduce(steps))}: {_bits(steps)}"
        )
    elif (steps == 257).all():
        whole = f"all values of the {len(wide)} 16-bit images are multiples of 257: they are 8 bits, stretched"
    elif tops.max() <= 4095:
        whole = f"none of the {len(wide)} 16-bit images has a value above 4095: they use 12 bits"
    if whole is not None:
        return [
            Problem(
                level="warning",
                kind="unused-bits",
                files=tuple(sample.image.path for sample, _ in wide),
                what=f"{whole[0].upper()}{whole[1:]}.",
                remedy="Nothing to do if the camera gives no more: Maskwright scales values by the data. If the files "
                "went through a program that keeps 8 bits only, export them again.",
                sample=wide[0][0].id,
            )
        ]
    problems = []
    for place, (sample, picture) in enumerate(wide):
        others = float(np.median(tops))
        if tops[place] <= 255 and others > 10 * 255:
            what = f"has no value above {tops[place]:.0f}, where most images reach {others:.0f}: it uses 8 bits of 16"
        elif picture.step > 1 and (steps == 1).mean() > 0.5:
            what = f"has only multiples of {picture.step}: it went through {'12' if picture.step == 16 else '8'} bits"
        else:
            continue
        problems.append(
            Problem(
                level="warning",
                kind="unused-bits",
                files=(sample.image.path,),
                what=f"{sample.image.path.name} {what}.",
                remedy="Export it again with all its bits; its values differ from the other images'.",
                sample=sample.id,
            )
        )
    return problems


def _isolated(values: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Which values have next to none within a distance: fewer than one in fifty others, and fewer than two.

    Where that holds for many, the set is varied, and none is far from the rest.
    """
    ordered = np.sort(values)
    inside = np.searchsorted(ordered, values + distance, "right") - np.searchsorted(ordered, values - distance, "left")
    needed = max(2, len(values) // 50)
    far = np.asarray(inside - 1 < needed)
    return far if far.sum() <= max(2, len(values) // 20) else np.zeros_like(far)


def _far(sample: Sample, kind: str, text: str) -> Problem:
    return Problem(
        level="warning",
        kind=f"far-{kind}",
        files=(sample.image.path,),
        what=f"{sample.image.path.name} {text}.",
        remedy="Look whether it belongs to the set; training on it is no mistake if new images will be like it.",
        sample=sample.id,
    )


def _dead(picture: Picture, channel: int) -> str | None:
    one = picture.channels[channel]
    if one.nan >= _WHOLE:
        return "NaN everywhere, which makes the image invalid everywhere"
    if one.nan > _SOME_NAN and min(other.nan for other in picture.channels) < one.nan / 2:
        return f"NaN in {one.nan:.1%} of its pixels, which are invalid in all channels by that"
    if one.constant and all(other.nan < _WHOLE for other in picture.channels):
        return f"{one.quantiles[0]:g} everywhere"
    return None


def _dead_problem(sample: Sample, channel: int, channels: int, words: str) -> Problem:
    which = "is" if channels == 1 else f": channel {channel + 1} of {channels} is"
    name = sample.image.files[channel if len(sample.image.files) == channels else 0]
    return Problem(
        level="warning",
        kind="nan-channel" if words.startswith("NaN") else "constant-channel",
        files=(name,),
        what=f"{name.name}{' ' if channels == 1 else ''}{which} {words}.",
        remedy="Export the image again, or leave the pair out.",
        sample=sample.id,
        numbers={"channel": channel},
    )


def _merged(problems: list[Problem]) -> list[Problem]:
    """One finding for an image whose channels are all dead in the same way."""
    by_sample: dict[tuple[str | None, str], list[Problem]] = {}
    for problem in problems:
        by_sample.setdefault((problem.sample, problem.kind), []).append(problem)
    merged = []
    for found in by_sample.values():
        numbered = [problem for problem in found if "channel" in problem.numbers]
        if len(numbered) < 2:
            merged += found
            continue
        first = numbered[0]
        channels = listed([str(int(problem.numbers["channel"]) + 1) for problem in numbered], 8)
        merged.append(
            Problem(
                level=first.level,
                kind=first.kind,
                files=tuple(dict.fromkeys(path for problem in numbered for path in problem.files)),
                what=f"{first.files[0].name}: the channels {channels} are {_said(first.kind)}.",
                remedy=first.remedy,
                sample=first.sample,
            )
        )
        merged += [problem for problem in found if problem not in numbered]
    return merged


def _said(kind: str) -> str:
    return "NaN" if kind == "nan-channel" else "constant"


def _bits(steps: NDArray[np.int64]) -> str:
    return "8 bits, shifted to the top" if (steps == 256).all() else "12 bits, shifted to the top"


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"
