"""As much of YAML as `data.yaml` of YOLO needs: some keys of the top level, with text, lists, or numbers with names.

    path: ../cells                names: [a, 'b c']        names:          names:
    train: images/train           names: {0: a, 1: b}        - a             0: a
                                                             - b             1: b

What other keys have is passed over, whatever it is. Anchors, tags, text over several lines and deeper nesting are
refused where a wanted key has them, not misread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

Content = str | list[str] | dict[str, str]

_KEY = re.compile(r"([A-Za-z_][\w-]*)\s*:(?:\s+(.*))?")
_ITEM = re.compile(r"-\s+(.*)")
_PAIR = re.compile(r"""(\d+|'[^']*'|"[^"]*"|[\w-]+)\s*:\s+(.*)""")
_TOKEN = re.compile(
    r"""\s*((?:[\w-]+\s*:\s+)?(?:'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^,'"\[\]{}][^,\[\]{}]*))\s*(?:,|$)"""
)
"""A name, or a number and a name."""


def has(text: str, key: str) -> bool:
    """Whether a key is in the top level."""
    return re.search(rf"^{key}\s*:", text, re.MULTILINE) is not None


def parse(text: str, wanted: Collection[str]) -> dict[str, Content]:
    """The wanted keys of the top level; raises ValueError, with the line, where one has more than plain content."""
    found: dict[str, Content] = {}
    block: list[str] = []
    key, start = "", 0
    for number, line in enumerate([*text.splitlines(), "end:"], start=1):
        bare = _without_comment(line)
        head = _KEY.fullmatch(bare) if bare and not bare[0].isspace() else None
        if head is None:
            block += [bare] if bare and bare not in ("---", "...") else []
            continue
        if key in wanted:
            try:
                found[key] = _value(block)
            except ValueError as error:
                raise ValueError(f"line {start}: {key} {error}") from None
        key, start, block = head[1], number, [head[2]] if head[2] else []
    return found


def _value(lines: list[str]) -> Content:
    if not lines:
        return ""
    first = lines[0].strip()
    if first[0] in "[{":
        return _inline(" ".join(line.strip() for line in lines))
    if len({len(line) - len(line.lstrip()) for line in lines}) > 1:
        raise ValueError("has lines of different indentation. Expected a plain list")
    stripped = [line.strip() for line in lines]
    items = [_ITEM.fullmatch(line) for line in stripped]
    if all(items):
        return [_scalar(item[1]) for item in items if item]
    pairs = [_PAIR.fullmatch(line) for line in stripped]
    if all(pairs):
        return {_scalar(pair[1]): _scalar(pair[2]) for pair in pairs if pair}
    if len(lines) > 1:
        raise ValueError(f"has {stripped[1]!r}. Expected a plain list, or numbers with names")
    return _scalar(first)


def _inline(text: str) -> Content:
    if text[-1] != {"[": "]", "{": "}"}[text[0]]:
        raise ValueError(f"has {text[:60]!r}. Expected a bracket that is closed")
    inner, place, parts = text[1:-1].strip(), 0, []
    while place < len(inner):
        token = _TOKEN.match(inner, place)
        if token is None:
            raise ValueError(f"has {inner[place : place + 60]!r}. Expected names with commas between them")
        parts.append(token[1].strip())
        place = token.end()
    if text[0] == "[":
        return [_scalar(part) for part in parts]
    pairs = [_PAIR.fullmatch(part) for part in parts]
    if not all(pairs):
        raise ValueError(f"has {text[:60]!r}. Expected numbers with names, such as {{0: cat, 1: dog}}")
    return {_scalar(pair[1]): _scalar(pair[2]) for pair in pairs if pair}


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return str(json.loads(text))  # what YAML has beyond JSON, such as \x41, is refused
    if text[:1] in tuple("&*!|>%@`'\"[{"):
        raise ValueError(f"has {text[:60]!r}. Expected plain text")
    return text


def _without_comment(line: str) -> str:
    """The line up to a "#" that is not in quotes and has a space, or nothing, before it."""
    quote = ""
    for place, letter in enumerate(line):
        if quote:
            escaped = quote == '"' and (len(line[:place]) - len(line[:place].rstrip("\\"))) % 2
            quote = "" if letter == quote and not escaped else quote
        elif letter in "'\"" and (place == 0 or line[place - 1] in " [{,:-"):
            quote = letter
        elif letter == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place].rstrip()
    return line.rstrip()
