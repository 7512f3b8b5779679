"""Class tables of other tools that lie beside masks: names with values or colours, in CSV, text, JSON and YAML files.

    class_dict.csv      name,r,g,b          Pixel values or colours by columns; any order, any of the usual words
    _classes.csv        Pixel Value, Class
    label_colors.txt    128 64 128 Road     a colour and a name a line, or a name and a colour; or a value and a name
    classes.txt         Road                a name a line: value 0, 1, ...
    *.json, *.yaml      {"Road": 7}, {"7": "Road"}, ["Road", ...], or a list of {"name", "id" or "color"}, under any key

A table is used where it says what all values in the masks stand for, and the data set says so; else it is mentioned.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskwright.datasets.classes import UNLABELLED, ClassTable, LabelClass, Value
from maskwright.datasets.texts import read_text
from maskwright.errors import ClassTableError
from maskwright.imaging.colors import color_name, color_rgb, default_color

LARGEST = 1_000_000
"""Bytes of a file that may be a class table."""

_NAMES = ("name", "class", "class_name", "classname", "label", "label_name", "classes")
_VALUES = (
    "value",
    "pixel value",
    "pixel_value",
    "pixelvalue",
    "id",
    "index",
    "class_id",
    "label_id",
    "train_id",
    "key",
)
_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".yaml", ".yml")
_WORDS = re.compile(r"class|label|color|colour|name|legend|palette|categor|meta|dataset|data|info", re.IGNORECASE)
_TOLD = re.compile(r"class|label|categor|colou?r|palette|names|legend", re.IGNORECASE)
"""Words of a key, or of a file's name, that a table of classes stands under."""
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")

Meanings = dict[Value, str]
"""What values or colours stand for."""


def tables_beside(folders: Iterable[Path]) -> list[Path]:
    """Files in some folders that may say what values stand for, by their names and sizes."""
    found: list[Path] = []
    for folder in dict.fromkeys(folders):
        if folder.is_dir():
            found += sorted(
                path
                for path in folder.iterdir()
                if path.suffix.lower() in _SUFFIXES and _WORDS.search(path.stem) and path.is_file()
                and 0 < path.stat().st_size <= LARGEST
            )  # fmt: skip
    return found


def fitting_table(folders: Iterable[Path], values: Iterable[Value]) -> tuple[ClassTable, Path] | None:
    """The class table of the first file that says what all of these values stand for, and the file."""
    present = list(values)
    for path in tables_beside(folders):
        for meanings in readings(path):
            table = _table(meanings, present)
            if table is not None:
                return table, path
    return None


def readings(path: Path) -> list[Meanings]:
    """What a file may say values stand for; nothing where it is no such table."""
    try:
        text = read_text(path)
    except OSError:
        return []
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            return [found for found in (_columns(text),) if found]
        if suffix == ".txt":
            return [found for found in _lines(text, names=bool(_TOLD.search(path.stem))) if found]
        content = json.loads(text) if suffix == ".json" else _yaml(text)
    except (ValueError, csv.Error, RecursionError):
        return []
    return [found for found in _structures(content, path.stem) if len(found) > 1]


def _yaml(text: str) -> Any:
    import yaml

    from maskwright.datasets import plain_yaml

    try:
        return plain_yaml.parsed(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _table(meanings: Meanings, present: Sequence[Value]) -> ClassTable | None:
    """The classes of a table, if it knows all values that occur (255 may be unlabelled)."""
    colored = any(isinstance(value, str) for value in meanings)
    if any(value not in meanings and not (value == UNLABELLED and not colored) for value in present):
        return None
    if not any(value in meanings for value in present):
        return None
    by_name: dict[str, list[Value]] = {}
    ignored: list[Value] = []
    for value, name in meanings.items():
        if name.lower() in ("unlabelled", "unlabeled", "ignore", "void", "ignored", "no label") and len(meanings) > 2:
            ignored.append(value)
        else:
            by_name.setdefault(name, []).append(value)
    classes = tuple(
        LabelClass(
            name=name,
            color=color_rgb(values[0]) if isinstance(values[0], str) else default_color(index, name),
            values=tuple(values),
        )
        for index, (name, values) in enumerate(by_name.items())
    )
    try:
        return ClassTable(classes=classes, unlabelled=tuple(ignored)) if len(classes) > 1 else None
    except ClassTableError:
        return None


def _columns(text: str) -> Meanings:
    """A table whose columns are told by their headings."""
    lines = text.splitlines()
    separator = max(",;\t", key=lines[0].count) if lines else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator) if row]
    if len(rows) < 3:
        return {}
    heading = [cell.lower() for cell in rows[0]]
    name = next((heading.index(word) for word in _NAMES if word in heading), None)
    if name is None:
        return {}
    channels = [next((heading.index(word) for word in words if word in heading), None) for words in
                (("r", "red"), ("g", "green"), ("b", "blue"))]  # fmt: skip
    value = next((heading.index(word) for word in _VALUES if word in heading and heading.index(word) != name), None)
    code = next((heading.index(word) for word in ("color", "colour", "hex", "rgb") if word in heading), None)
    meanings: Meanings = {}
    for row in rows[1:]:
        if len(row) <= name or not row[name]:
            continue
        found: Value | None = None
        if None not in channels:
            found = _color([row[index] for index in channels if index is not None and index < len(row)])
        elif value is not None and value < len(row):
            found = _whole(row[value])
        elif code is not None and code < len(row):
            found = _color(row[code])
        if found is None:
            return {}
        meanings[found] = row[name]
    return meanings


def _lines(text: str, *, names: bool) -> list[Meanings]:
    """A line for each class: a colour or a value with a name, or (`names`) a name alone."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    marked: Meanings = {}
    for line in lines:
        match = re.fullmatch(r"(\d+)[\s,;:]+(\d+)[\s,;:]+(\d+)[\s,;:]+(\S.*)", line)
        other = re.fullmatch(r"(\S.*?)[\s,;:]+\(?(\d+)[\s,;:]+(\d+)[\s,;:]+(\d+)\)?:*", line)
        numbered = re.fullmatch(r"(\d+)[\s,;:.]+(\D\S*.*)", line) or re.fullmatch(r"(\D.*?)[\s,;:]+(\d+)", line)
        code: Value | None
        if match is not None:
            code, name = _color(match.groups()[:3]), match[4]
        elif other is not None:
            code, name = _color(other.groups()[1:]), other[1]
        elif numbered is not None:
            first, second = numbered.groups()
            code, name = (_whole(first), second) if first.isdigit() else (_whole(second), first)
        else:
            break
        if code is None:
            break
        marked[code] = name.strip("\t :,;")
    else:
        if len(marked) == len(lines) > 1:
            return [marked]
    plain = all(len(line) < 60 and not re.search(r"[./\\]", line) for line in lines)
    return [dict(enumerate(lines))] if names and plain and 1 < len(lines) <= 255 else []


def _structures(content: Any, key: str, depth: int = 0) -> list[Meanings]:
    """Tables anywhere in a nested structure, the outermost first, under keys (or a file's name) that say so."""
    found: list[Meanings] = []
    if _TOLD.search(key) and isinstance(content, Mapping | list):
        found.append(_mapping(content) if isinstance(content, Mapping) else _sequence(content))
    if depth < 4:
        inner = list(content.items()) if isinstance(content, Mapping) else []
        for name, value in inner[:50]:
            if isinstance(value, Mapping | list):
                found += _structures(value, str(name), depth + 1)
    return [one for one in found if one]


def _mapping(content: Mapping[Any, Any]) -> Meanings:
    meanings: Meanings = {}
    for key, value in content.items():
        code: Value | None = None if isinstance(key, bool) else _whole(key)
        name = value
        if code is None or not isinstance(value, str):
            code, name = (_color(value) if isinstance(value, list | str) else _whole(value)), key
        if code is None or not isinstance(name, str):
            return {}
        meanings[code] = name
    return meanings


def _sequence(content: Sequence[Any]) -> Meanings:
    if all(isinstance(item, str) for item in content):
        return dict(enumerate(content)) if 1 < len(content) <= 255 else {}
    meanings: Meanings = {}
    for item in content:
        if not isinstance(item, Mapping):
            return {}
        keys = {str(key).lower(): value for key, value in item.items()}
        name = next((keys[word] for word in _NAMES if isinstance(keys.get(word), str)), None)
        value = next((found for word in _VALUES if word in keys and (found := _whole(keys[word])) is not None), None)
        code: Value | None = value
        if code is None:
            code = next((_color(keys[word]) for word in ("color", "colour", "rgb", "hex") if word in keys), None)
        if name is None or code is None:
            return {}
        meanings[code] = name
    return meanings


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    text = str(value).strip()
    return int(text) if re.fullmatch(r"-?\d{1,6}", text) else None


def _color(value: Any) -> str | None:
    if isinstance(value, str):
        match = _HEX.fullmatch(value.strip())
        if match is not None:
            return f"#{match[1].lower()}"
        value = re.split(r"[\s,;]+", value.strip("()[] "))
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    channels = [_whole(item) for item in value]
    if any(channel is None or not 0 <= channel <= 255 for channel in channels):
        return None
    red, green, blue = (channel or 0 for channel in channels)
    return color_name(red << 16 | green << 8 | blue)
