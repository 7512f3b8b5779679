"""Every mistake a user can make, as an exception whose text says what came, what was expected and what to do.

MaskwrightError                    the command line prints its text and exits with its code, 2, without a traceback
├── DataError                      something about the images or masks that were given
│   ├── FailedFilesError            some files failed, the others are done: exit code 1
│   ├── EmptyDataError             no image where images were expected
│   ├── PairingError               an image without a mask, a mask without an image, two files for one name
│   ├── SizeMismatchError          an image and its mask (or valid mask) of different sizes
│   ├── UndeclaredValueError       a mask holds a value that no class stands for
│   ├── TooLargeError               a picture that needs more memory than there is for one
│   └── UnreadableFileError        a file that cannot be decoded, or is not an image
├── ClassTableError                a class table that contradicts itself or the run it is used with
├── SettingError                   a setting that is unknown, out of range, contradictory or without effect
├── ModelError                     a network that does not exist, or weights that do not fit it
├── ProjectError                   a labelling project that is locked, too new or damaged, or a change it refuses
│   └── StaleRevisionError         a change of labels that was drawn on an older state of the image
├── OutputError                     a file of the user's stands where an output would go
├── RunError                       a run folder that is missing, incomplete, locked or too new
└── TrainingError                  training that cannot go on: a loss that is not finite, no memory

InputWarning                       an image unlike the training data: still predicted, but said aloud
RunWarning                         something about the machine or the disk that does not stop the work
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

__all__ = [
    "ClassTableError",
    "DataError",
    "EmptyDataError",
    "FailedFilesError",
    "InputWarning",
    "MaskwrightError",
    "ModelError",
    "OutputError",
    "PairingError",
    "ProjectError",
    "RunError",
    "RunWarning",
    "SettingError",
    "SizeMismatchError",
    "StaleRevisionError",
    "TooLargeError",
    "TrainingError",
    "UndeclaredValueError",
    "UnreadableFileError",
    "explained",
    "listed",
    "refuse_failed",
    "visible",
]


LONGEST = 8000
"""Letters of what an error tells: a stranger's file may hold a name that fills the screen for minutes."""


def listed(names: Sequence[str], shown: int = 5) -> str:
    """The first names, and how many more there are, for a message."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal or page obeys instead of showing it, but for tabs and line ends; and bytes that are no UTF-8."""


def visible(text: str) -> str:
    """The text with control characters escaped: a name in a stranger's file must not steer what shows it."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class MaskwrightError(ValueError):
    """A user's mistake, explained.

    The text is the three sentences in turn. Programs read the fields; nobody takes the text apart.

    Parameters
    ----------
    what
        What was found, in a sentence that names the file or the setting.
    expected
        What was expected, in a sentence.
    remedy
        What to do, in a sentence.
    file
        The file to look at, if there is one.
    """

    code: ClassVar[int] = 2
    """What the command line exits with."""

    def __init__(self, what: str, *, expected: str = "", remedy: str = "", file: Path | None = None) -> None:
        what = what if len(what) <= LONGEST else f"{what[:LONGEST]} ..."
        super().__init__(" ".join(part for part in (what, expected, remedy) if part))
        self.what, self.expected, self.remedy, self.file = what, expected, remedy, file

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross process boundaries with their fields."""
        return partial(type(self), expected=self.expected, remedy=self.remedy, file=self.file), (self.what,)


class DataError(MaskwrightError):
    """Something about the images or masks that were given."""


class FailedFilesError(DataError):
    """Some files failed; the others are done."""

    code: ClassVar[int] = 1


def refuse_failed(failed: Mapping[str, str], what: str) -> None:
    """Raise FailedFilesError, naming what failed and why, if anything did; the others are done.

    Parameters
    ----------
    failed
        What is wrong, by the name of a sample.
    what
        The end of the sentence "2 samples could ...".
    """
    if failed:
        texts = list(failed.values())
        more = f"\n  ... and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
        count = "1 sample" if len(texts) == 1 else f"{len(texts)} samples"
        raise FailedFilesError(f"{count} could {what}.\n  " + "\n  ".join(texts[:_NAMED]) + more)


_NAMED = 5


class EmptyDataError(DataError):
    """No image where images were expected."""


class PairingError(DataError):
    """An image without a mask, a mask without an image, or two files for one name."""


class SizeMismatchError(DataError):
    """An image and its mask, or its valid mask, differ in size."""


class UndeclaredValueError(DataError):
    """A mask holds a value that no class of the table stands for."""


class TooLargeError(DataError):
    """A picture would need more memory, once decoded or painted, than there is for one."""


class UnreadableFileError(DataError):
    """A file cannot be decoded, or is not an image."""


class ClassTableError(MaskwrightError):
    """A class table contradicts itself, or the run it is used with."""


class SettingError(MaskwrightError):
    """A setting is unknown, out of range, contradictory or without effect."""


class ModelError(MaskwrightError):
    """A network does not exist, or weights do not fit it."""


class OutputError(MaskwrightError):
    """A file that Maskwright did not write, or that was changed since, stands where an output would go."""


class RunError(MaskwrightError):
    """A run folder is missing, incomplete, locked or written by a newer version."""


class ProjectError(MaskwrightError):
    """A labelling project is locked, too new or damaged, or refuses a change."""


class StaleRevisionError(ProjectError):
    """A change of labels was drawn on an older state of the image."""


class TrainingError(MaskwrightError):
    """Training cannot go on."""


class InputWarning(UserWarning):
    """An image is unlike the training data, so that its prediction may be poor."""


class RunWarning(UserWarning):
    """Something about the machine or the disk that does not stop the work."""


REMEDIES = {
    errno.ENOSPC: "Free some space, or write to another disk with --out.",
    errno.EDQUOT: "Free some space, or write to another disk with --out.",
    errno.EFBIG: "Files may not be this large here: write to another disk with --out.",
    errno.EROFS: "Choose a place that can be written to with --out.",
    errno.EACCES: "Ask for the permission, or choose another place with --out.",
    errno.EPERM: "Ask for the permission, or choose another place with --out.",
    errno.ENOTDIR: "A file stands where a folder was expected: choose another place with --out.",
    errno.EEXIST: "A file stands where a folder was expected: choose another place with --out.",
    errno.EISDIR: "A folder stands where a file was expected: choose another name.",
    errno.ENOENT: "Look whether the path is right, and its disk is there.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Too many files are open: raise the limit with ulimit -n.",
}
"""What to do about an error of the operating system, by its number."""


def explained(error: OSError) -> MaskwrightError:
    """An error of the operating system as one that names the file and says what to do."""
    file = None if error.filename is None else Path(os.fsdecode(error.filename))
    what = error.strerror or str(error) or type(error).__name__
    remedy = REMEDIES.get(error.errno or 0, "Look at the disk, then give the same command again.")
    return MaskwrightError(f"{what}." if file is None else f"{file}: {what}.", remedy=remedy, file=file)
