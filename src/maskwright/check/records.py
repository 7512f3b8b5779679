"""What one pair measures: plain numbers that JSON can hold, so that an interrupted check goes on where it stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from maskwright.datasets.classes import Value

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""Where each channel's distribution is measured; the ends are exact, the others of a sample of the pixels."""

MOST_VALUES = 512
"""Raw values of a mask that are counted one by one, the most frequent ones; a mask with more is no mask."""


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A file of a pair that could not be read."""

    file: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel of an image, over its valid pixels, in native values."""

    mean: float
    quantiles: tuple[float, ...]
    """At `QUANTILES`."""
    nan: float = 0.0
    """Share of pixels that are not finite."""

    @property
    def constant(self) -> bool:
        """Whether all pixels are equal."""
        return self.quantiles[0] == self.quantiles[-1]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What an image measures."""

    shape: tuple[int, int]
    """Height and width as seen, after EXIF orientation."""
    orientation: int
    """EXIF orientation 1..8, already applied to `shape`."""
    dtype: str
    channels: tuple[Channel, ...]
    digest: str
    """A hash of the pixels: the same for the same picture in another file format."""
    small: str
    """Grey, 32 x 32 bytes in base64: enough to tell near-duplicates."""
    step: int = 1
    """Of 16-bit images, what all values are multiples of, if it is 16, 256 or 257."""
    valid: float = 1.0
    """Share of valid pixels."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """How often a mask holds one raw value."""

    value: Value
    pixels: int
    flat: int
    """Of these, pixels whose eight neighbours have the same value."""
    between: int
    """Of these, pixels whose neighbours are both smaller and larger: what smoothing leaves at an edge."""
    invalid: int = 0
    """Of these, pixels where the image has no data."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A region of one to nine pixels, inside a region of another value."""

    y: int
    x: int
    value: Value
    around: Value


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How well the mask's edges fit the image's edges, in standard errors of a mask laid anywhere."""

    here: float
    """As it lies (two reduced pixels of play)."""
    best: float
    """At the best shift."""
    shift: tuple[int, int]
    """That shift, down and to the right, in pixels."""
    step: int
    """How exact the shift is, in pixels."""
    turned: float = 0.0
    """At the best flip or turn."""
    turn: str = ""
    """That flip or turn, in words."""
    pixels: int = 1
    """Reduced edge pixels of the mask that this was judged by."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a mask measures, before any class table is known."""

    shape: tuple[int, int]
    digest: str
    colored: bool
    """Whether the raw values are colours."""
    jpeg: bool
    """Whether the file is a JPEG, whatever its suffix."""
    distinct: int
    """Number of raw values."""
    counts: tuple[Count, ...]
    """In order of frequency, `MOST_VALUES` at most."""
    edges: int
    """Pixels that touch another value (of eight neighbours)."""
    ramps: int
    """Of these, pixels strictly between two opposite neighbours: few in a drawn mask, most in a smoothed one."""
    spots: int
    """Regions of one to nine pixels, each inside one other region."""
    shown_spots: tuple[Spot, ...]
    """Some of them."""
    placement: Placement | None
    """None where the mask has no edges to judge by, or does not have the image's size."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known of a pair once its pixels were read."""

    unread: tuple[Unread, ...] = ()
    picture: Picture | None = None
    labels: Labels | None = None
    valid_shape: tuple[int, int] | None = None
    """Height and width of the separate valid mask."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read back what `to_json` gave; raises KeyError or TypeError for anything else."""
        picture, labels = content["picture"], content["labels"]
        return cls(
            unread=tuple(Unread(**item) for item in content["unread"]),
            picture=None if picture is None else _picture(picture),
            labels=None if labels is None else _labels(labels),
            valid_shape=_pair(content["valid_shape"]),
        )


def _picture(content: dict[str, Any]) -> Picture:
    channels = tuple(Channel(**item | {"quantiles": tuple(item["quantiles"])}) for item in content["channels"])
    return Picture(**content | {"channels": channels, "shape": tuple(content["shape"])})


def _labels(content: dict[str, Any]) -> Labels:
    placement = content["placement"]
    return Labels(
        **content
        | {
            "shape": tuple(content["shape"]),
            "counts": tuple(Count(**item) for item in content["counts"]),
            "shown_spots": tuple(Spot(**item) for item in content["shown_spots"]),
            "placement": None if placement is None else Placement(**placement | {"shift": tuple(placement["shift"])}),
        }
    )


def _pair(numbers: list[int] | None) -> tuple[int, int] | None:
    return None if numbers is None else (numbers[0], numbers[1])
