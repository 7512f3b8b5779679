"""The class table: index by order, name, colour, and the raw values or colours of masks that stand for each class.

On disk it is `classes.toml`; in a run it is part of `run.json`, with the same keys:

    unlabelled = [11]              # raw values that mean "not labelled", besides 255
    [[class]]
    name = "Sky"
    value = 0                      # raw value, list of values, or "#rrggbb"
    color = "#808080"              # optional, for pictures

A raw mask holds integers (`H x W`) or colours (`H x W x 3`, uint8). A grey `v` and the colour `(v, v, v)` are the same.
A raw 255 is unlabelled unless a class claims it, or the table is written in colours only.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import tomli_w

from maskwright.errors import ClassTableError, UndeclaredValueError
from maskwright.imaging.colors import color_code, color_codes, color_name, color_rgb, default_color
from maskwright.imaging.images import NO_LABEL
from maskwright.runs import write_text

UNLABELLED = 255
"""The index that every mask uses for "not labelled": in memory, in the loss, in the metrics and on disk."""

UNLABELLED_COLOR = (224, 224, 224)
"""What pictures show where a mask is unlabelled."""

MAX_CLASSES = 255
CLASSES_FILE = "classes.toml"

Value = int | str
"""A raw value of a mask: an integer, or a colour as "#rrggbb" in lower case."""

_HEX = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, kw_only=True)
class LabelClass:
    """One class: its name, the colour that pictures give it, and the raw values that stand for it in masks."""

    name: str
    color: tuple[int, int, int]
    values: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """The classes of a data set or a run; a class's index is its place.

    Raises ClassTableError if names or values repeat, or there are more than 255 classes.
    """

    classes: tuple[LabelClass, ...]
    unlabelled: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> list[str]:
        """Names in index order."""
        return [item.name for item in self.classes]

    @property
    def colors(self) -> np.ndarray:
        """Colours in index order: uint8, K x 3, RGB."""
        return np.array([item.color for item in self.classes], np.uint8).reshape(-1, 3)

    @property
    def css_colors(self) -> list[str]:
        """One "#rrggbb" a class, for pages."""
        return ["#{:02x}{:02x}{:02x}".format(*item.color) for item in self.classes]

    def palette(self) -> bytes:
        """The 768 bytes of a PNG palette: class colours, black for indices without a class, light grey for 255."""
        return self._colors_of_indices.tobytes()

    def rgb(self, mask: np.ndarray) -> np.ndarray:
        """Show class indices (uint8, any shape) as colours (uint8, that shape x 3)."""
        colors: np.ndarray = self._colors_of_indices[mask]
        return colors

    def encode(self, raw: np.ndarray, source: str) -> np.ndarray:
        """Turn a raw mask into class indices.

        Parameters
        ----------
        raw
            Integers `H x W`, or colours `H x W x 3` uint8 (RGB).
        source
            What to call the mask in errors, usually its path.

        Returns
        -------
        np.ndarray
            uint8 `H x W`: 0..K-1, or 255 where the mask is unlabelled.

        Raises
        ------
        UndeclaredValueError
            The mask holds a value that the table does not declare.
        """
        if raw.ndim == 3:
            keys, meaning = color_codes(raw), self._index_by_code
        else:
            keys, meaning = raw, self._index_by_value
        indices = _translate(keys, meaning, self._short_lookup if raw.ndim == 2 else None)
        if indices.size and indices.min() < 0:
            codes, counts = np.unique(keys[indices < 0], return_counts=True)
            name = color_name if raw.ndim == 3 else int
            pixels = {name(int(code)): int(count) for code, count in zip(codes, counts, strict=True)}
            raise UndeclaredValueError(self._undeclared_text(pixels, source))
        return indices.astype(np.uint8)

    def declares(self, value: Value) -> bool:
        """Whether a raw value means a class or unlabelled."""
        return value in self._index_by_value if isinstance(value, int) else color_code(value) in self._index_by_code

    def claims(self, value: int) -> bool:
        """Whether a class (not "unlabelled") stands for a raw integer."""
        return self._index_by_value.get(value, UNLABELLED) != UNLABELLED

    def agreeing_with(self, run: ClassTable, source: str) -> ClassTable:
        """Put the raw values of this table in the order, and with the colours, of a run's table.

        Raises ClassTableError if the names differ; `source` is what errors call this table.
        """
        own = {item.name: item for item in self.classes}
        missing, extra = [n for n in run.names if n not in own], [n for n in own if n not in run.names]
        if missing or extra:
            differences = [f"it lacks {', '.join(map(repr, missing))}"] if missing else []
            differences += [f"the run does not know {', '.join(map(repr, extra))}"] if extra else []
            raise ClassTableError(
                f"{source} does not agree with the run's classes: {'; '.join(differences)}.\n"
                f"Expected these names, in any order: {', '.join(map(repr, run.names))}.\n"
                "Rename the classes there, or use a run that was trained with the classes of this data."
            )
        ordered = (LabelClass(name=c.name, color=c.color, values=own[c.name].values) for c in run.classes)
        return ClassTable(classes=tuple(ordered), unlabelled=self.unlabelled)

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values that JSON and TOML can hold, with the keys of `classes.toml`."""
        content: dict[str, Any] = {"unlabelled": list(self.unlabelled)} if self.unlabelled else {}
        content["class"] = [
            {
                "name": item.name,
                "value": item.values[0] if len(item.values) == 1 else list(item.values),
                "color": color_name(int(color_codes(np.array(item.color, np.uint8)))),
            }
            for item in self.classes
        ]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str) -> Self:
        """Read a table back from `to_dict`, or from a parsed `classes.toml`; `source` names the file in errors.

        Raises ClassTableError for an unknown key, a value or colour that is none, or fewer than two classes.
        """
        _refuse_unknown(content, {"unlabelled", "class"}, source)
        entries = content.get("class", [])
        if not isinstance(entries, Sequence) or isinstance(entries, str) or len(entries) < 2:
            found = len(entries) if isinstance(entries, Sequence) and not isinstance(entries, str) else repr(entries)
            raise ClassTableError(
                f"{source} declares {found} classes.",
                expected=(
                    "Expected two or more [[class]] sections, background included: it is a class like "
                    f"any other.{_EXAMPLE}"
                ),
            )
        classes = tuple(_label_class(entry, index, source) for index, entry in enumerate(entries))
        unlabelled = _values(content.get("unlabelled", []), f"{source}: unlabelled")
        try:
            return cls(classes=classes, unlabelled=unlabelled)
        except ClassTableError as error:
            raise ClassTableError(f"{source}: {error}") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a `classes.toml`; raises ClassTableError if it cannot be read or contradicts itself."""
        try:
            content = tomllib.loads(path.read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ClassTableError(
                f"{path} cannot be read as TOML: {error}.", expected=f"Expected a class table.{_EXAMPLE}", file=path
            ) from None
        return cls.from_dict(content, str(path))

    def save(self, path: Path) -> None:
        """Write a `classes.toml`, atomically."""
        write_text(path, tomli_w.dumps(self.to_dict()))

    def describe(self) -> str:
        """The raw values of every class and of unlabelled pixels, in one line."""
        described = [f"{_listed(item.values)} = {item.name}" for item in self.classes]
        ignored = [*self.unlabelled]
        if self._index_by_value.get(255) == UNLABELLED and 255 not in ignored:
            ignored.append(255)
        return ", ".join(described + ([f"{_listed(ignored)} = unlabelled"] if ignored else []))

    def _undeclared_text(self, pixels: Mapping[Value, int], source: str) -> str:
        by_count = sorted(pixels.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{value} ({count} pixels)" for value, count in by_count[:8])
        more = f" and {len(by_count) - 8} more" if len(by_count) > 8 else ""
        lossy = (
            "\nSo many values suggest a mask that was resized with smoothing, drawn with soft edges, or saved as JPEG: "
            "export it again as PNG without anti-aliasing."
            if len(by_count) > 8
            else ""
        )
        return (
            f"{source} holds values that no class stands for: {shown}{more}.\nExpected: {self.describe()}.{lossy}\n"
            f"Correct the mask, or declare the values in {CLASSES_FILE} beside the images folder, "
            f'in the "value" list of a class or in unlabelled = [{", ".join(_toml(v) for v, _ in by_count[:8])}].'
        )

    @cached_property
    def _index_by_value(self) -> dict[int, int]:
        """Raw integer -> class index or UNLABELLED. Greys among the colours count, after the integers."""
        pairs = [(v, i) for i, item in enumerate(self.classes) for v in item.values]
        pairs += [(v, UNLABELLED) for v in self.unlabelled]
        found = {v: i for v, i in pairs if isinstance(v, int)}
        only_colors = bool(pairs) and not found
        for v, i in pairs:
            if isinstance(v, str) and len({v[1:3], v[3:5], v[5:7]}) == 1:
                found.setdefault(int(v[1:3], 16), i)
        if not only_colors:
            found.setdefault(255, UNLABELLED)
        return found | {NO_LABEL: UNLABELLED}

    @cached_property
    def _index_by_code(self) -> dict[int, int]:
        """Colour code 0xrrggbb -> class index or UNLABELLED. Integers 0..255 count as greys."""
        found = {v * 0x010101: i for v, i in self._index_by_value.items() if 0 <= v <= 255}
        for index, item in enumerate(self.classes):
            found |= {color_code(v): index for v in item.values if isinstance(v, str)}
        return found | {color_code(v): UNLABELLED for v in self.unlabelled if isinstance(v, str)}

    @cached_property
    def _short_lookup(self) -> np.ndarray:
        """int16, 65536: the index of every value that 16 bits can hold, -1 where undeclared."""
        lookup = np.full(65536, -1, np.int16)
        for value, index in self._index_by_value.items():
            if 0 <= value < 65536:
                lookup[value] = index
        return lookup

    @cached_property
    def _colors_of_indices(self) -> np.ndarray:
        colors = np.zeros((256, 3), np.uint8)
        colors[: len(self)] = self.colors
        colors[UNLABELLED] = UNLABELLED_COLOR
        return colors


_EXAMPLE = """ For example:

unlabelled = []
[[class]]
name = "background"
value = 0
[[class]]
name = "cell"
value = 1
"""


def _translate(keys: np.ndarray, meaning: Mapping[int, int], lookup: np.ndarray | None) -> np.ndarray:
    """Indices (int16) of keys (any integers), -1 where a key has no meaning."""
    if lookup is not None and keys.size and (keys.dtype.itemsize > 2 or keys.dtype.kind == "i"):
        lookup = lookup if keys.min() >= 0 and keys.max() < len(lookup) else None
    if lookup is not None:
        found: np.ndarray = lookup[keys]
        return found
    known = np.array(sorted(meaning), np.int64)
    indices = np.array([meaning[key] for key in sorted(meaning)], np.int16)
    place = np.searchsorted(known, keys).clip(max=len(known) - 1)
    return np.where(known[place] == keys, indices[place], np.int16(-1))


def check_count(classes: int) -> None:
    """Raise ClassTableError where there are more classes than a mask can tell apart."""
    if classes > MAX_CLASSES:
        raise ClassTableError(
            f"There are {classes} classes.", expected=f"Expected at most {MAX_CLASSES}: 255 means unlabelled."
        )


def _check(table: ClassTable) -> None:
    check_count(len(table))
    names: set[str] = set()
    owner: dict[Value, str] = {}
    for item in table.classes:
        if item.name in names:
            raise ClassTableError(f"Two classes are named {item.name!r}.", remedy="Give each class its own name.")
        names.add(item.name)
        for value in item.values:
            if value in owner:
                raise ClassTableError(
                    f"The value {value} stands for {owner[value]!r} and for {item.name!r}.",
                    remedy="Keep it in one of them.",
                )
            owner[value] = item.name
    for value in table.unlabelled:
        if value in owner:
            raise ClassTableError(
                f"The value {value} is unlabelled and stands for {owner[value]!r}.", remedy="Keep it in one of them."
            )


def _label_class(entry: Any, index: int, source: str) -> LabelClass:
    where = f"{source}: class {index}"
    if not isinstance(entry, Mapping):
        raise ClassTableError(f"{where} is {entry!r}.", expected=f"Expected a [[class]] section.{_EXAMPLE}")
    _refuse_unknown(entry, {"name", "value", "color"}, where)
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ClassTableError(
            f"{where} has the name {name!r}.", expected='Expected a line of text, for example name = "cell".'
        )
    if "value" not in entry:
        raise ClassTableError(
            f"{where} ({name}) has no value.",
            expected=f'Expected what stands for it in masks: value = {index}, or "#rrggbb".',
        )
    values = _values(entry["value"], f"{where} ({name}): value")
    if not values:
        raise ClassTableError(f"{where} ({name}) has an empty list of values.", expected="Expected one value at least.")
    color = default_color(index, name)
    if "color" in entry:
        (given,) = _values([entry["color"]], f"{where} ({name}): color")
        if isinstance(given, int):
            raise ClassTableError(f"{where} ({name}): color = {given}.", expected='Expected a colour like "#808080".')
        color = color_rgb(given)
    elif isinstance(values[0], str):
        color = color_rgb(values[0])
    return LabelClass(name=name.strip(), color=color, values=values)


def _values(given: Any, where: str) -> tuple[Value, ...]:
    values: list[Value] = []
    for value in given if isinstance(given, list | tuple) else [given]:
        if isinstance(value, str) and _HEX.fullmatch(value.strip().lower()):
            values.append(value.strip().lower())
        elif isinstance(value, int) and not isinstance(value, bool):
            values.append(value)
        else:
            raise ClassTableError(
                f"{where} = {given!r}.", expected='Expected a whole number, a colour "#rrggbb", or a list of these.'
            )
    return tuple(values)


def _refuse_unknown(content: Mapping[str, Any], known: set[str], source: str) -> None:
    for key in content:
        if key not in known:
            raise ClassTableError(
                f"{source} has the unknown key {key!r}.", expected=f"Expected: {', '.join(sorted(known))}.{_EXAMPLE}"
            )


def _listed(values: Sequence[Value]) -> str:
    return " or ".join(map(str, values))


def _toml(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


NO_CLASSES = ClassTable(classes=())
"""The table of images that come without masks and without a class table."""
