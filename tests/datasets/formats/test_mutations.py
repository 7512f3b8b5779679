"""Values of another type or size than a format says are explained errors, in every reader: never a traceback.

A small valid data set of each format is changed in one place at a time: every value of its files is replaced by null, a
list, a number beyond any type and the like, or doubled. What comes of it is data, or a MaskwrightError that says so.
Some changes, drawn with a seed, are a test; `python tests/datasets/formats/test_mutations.py` tries them all.
"""

from __future__ import annotations

import base64
import copy
import csv
import io
import json
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from maskwright import convert, open_dataset
from maskwright.datasets.formats import find_layout
from maskwright.errors import MaskwrightError

CASES_A_FORMAT = 24
"""Changes of each format that are a test."""
DEEP = "[" * 100_000
HUGE = object()
"""1e400, as JSON can write it."""
VALUES: list[Any] = [
    None, [], {}, "", -1, 0, 1, True, 0.5, HUGE, -2.0**70, 2**70, 2**31, float("nan"), "x" * 20_000, "a\x00b", "\ud800",
    [None], [[1, 2], [3]], {"a": None}, "../../etc/passwd", [[[[[]]]]],
]  # fmt: skip
TEXTS = [
    "",
    "-1",
    "1e400",
    str(2**70),
    "nan",
    "null",
    "x" * 20_000,
    "1,2,3",
    "\x85",
    ";;;",
    "../../etc/passwd",
    "5;5",
    "[]",
]

Change = tuple[str, Callable[[], bytes]]
"""What is changed, in words, and the file's new content."""


def picture(values: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


MASK = np.zeros((8, 8), np.uint8)
MASK[2:5, 1:6] = 1
MASK[6:, 4:] = 2


def plain(root: Path) -> None:
    for name in "ab":
        for room, content in (("images", np.full((8, 8, 3), 90, np.uint8)), ("masks", MASK)):
            (root / room).mkdir(parents=True, exist_ok=True)
            (root / room / f"{name}.png").write_bytes(picture(content))
    table = '[[class]]\nname = "back"\nvalue = 0\ncolor = "#000000"\n[[class]]\nname = "cell"\nvalue = [1]\n'
    (root / "classes.toml").write_text(table + '[[class]]\nname = "wall"\nvalue = 2\n')


def converted(kind: Literal["coco", "voc", "yolo"]) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        with tempfile.TemporaryDirectory() as place:
            plain(Path(place) / "plain")
            convert.convert(open_dataset(Path(place) / "plain"), root, kind)

    return make


def write(root: Path, name: str, content: Any) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


def images(root: Path, *names: str) -> None:
    for name in names:
        write(root, name, picture(np.full((8, 8, 3), 90, np.uint8)))


def coco_runs(root: Path) -> None:
    images(root, "a.png")
    write(root, "instances.json", {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
        "categories": [{"id": 3, "name": "cell", "color": [1, 2, 3], "supercategory": "x"}, {"id": 4, "name": "wall"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "segmentation": {"size": [8, 8], "counts": [10, 4, 50]}},
            {"id": 2, "image_id": 1, "category_id": 4, "segmentation": {"size": [8, 8], "counts": ":4b1"}},
            {"id": 3, "image_id": 1, "category_id": 4, "segmentation": [[0, 0, 4, 0, 4, 4]], "bbox": [0, 0, 4, 4]},
        ],
    })  # fmt: skip


def labelme(root: Path) -> None:
    images(root, "a.png")
    mask = base64.b64encode(picture(MASK[:3, :3])).decode()
    shapes: list[dict[str, Any]] = [
        {"label": "cell", "shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 4]], "group_id": None, "flags": {}},
        {"label": "wall", "shape_type": "rectangle", "points": [[1, 1], [3, 3]]},
        {"label": "cell", "shape_type": "circle", "points": [[4, 4], [6, 6]]},
        {"label": "cell", "shape_type": "mask", "points": [[1, 1], [3, 3]], "mask": mask},
        {"label": "cell", "shape_type": "point", "points": [[1, 1]]},
    ]
    content = {"version": "5", "imagePath": "a.png", "imageData": None, "imageHeight": 8, "imageWidth": 8}
    write(root, "a.json", content | {"shapes": shapes})
    data = base64.b64encode(picture(np.full((8, 8, 3), 9, np.uint8))).decode()
    write(root, "b.json", content | {"shapes": shapes[:1], "imagePath": "gone.png", "imageData": data})


def supervisely(root: Path) -> None:
    images(root, "d/img/a.png")
    write(root, "meta.json", {"classes": [
        {"title": "cell", "shape": "any", "color": "#ff0000"}, {"title": "wall", "shape": "bitmap", "color": "#00ff00"},
    ], "tags": [{"name": "train"}]})  # fmt: skip
    data = base64.b64encode(zlib.compress(picture(MASK[:3, :3]))).decode()
    write(root, "d/ann/a.png.json", {"size": {"height": 8, "width": 8}, "tags": [{"name": "val"}], "objects": [
        {"classTitle": "cell", "geometryType": "polygon",
         "points": {"exterior": [[0, 0], [4, 0], [4, 4]], "interior": [[[1, 1], [2, 1], [2, 2]]]}},
        {"classTitle": "wall", "geometryType": "bitmap", "bitmap": {"origin": [2, 2], "data": data}},
        {"classTitle": "cell", "geometryType": "rectangle", "points": {"exterior": [[0, 0], [4.5, 3]], "interior": []}},
    ]})  # fmt: skip


def cvat(root: Path) -> None:
    images(root, "images/a.png")
    write(
        root,
        "annotations.xml",
        """<annotations><version>1.1</version><meta><task><id>4</id><name>n</name><labels>
        <label><name>cell</name><color>#ff6037</color><type>any</type></label><label><name>wall</name></label></labels>
        </task></meta><image id="0" name="a.png" subset="train" width="8" height="8">
        <polygon label="cell" points="1.0,1.0;5.0,1.0;5.0,5.0" z_order="1"/>
        <box label="wall" xtl="0.0" ytl="4.0" xbr="8.0" ybr="6.0" rotation="10" z_order="0"/>
        <mask label="wall" rle="1, 2, 3" left="4" top="2" width="3" height="2" z_order="2"/>
        <ellipse label="cell" cx="3.5" cy="4.5" rx="1.5" ry="1.5" z_order="0"/></image></annotations>""",
    )


def run_lengths(root: Path) -> None:
    images(root, "train/a.png", "train/b.png")
    write(root, "train.csv", "ImageId,ClassId,EncodedPixels\na.png,3,1 3 9 2\na.png,1,4 1\nb.png,1,2 1\n")


def geojson(root: Path) -> None:
    images(root, "images/a.png")

    def feature(kind: str, label: str, rings: Any) -> dict[str, Any]:
        return {
            "type": "Feature",
            "properties": {"class": label, "id": 5},
            "geometry": {"type": kind, "coordinates": rings},
        }

    ring = [[0, 0], [4, 0], [4, 4], [0, 0]]
    crs = {"properties": {"name": "EPSG:4326"}}
    write(root, "labels/a.geojson", {"type": "FeatureCollection", "crs": crs, "features": [
        feature("Polygon", "cell", [ring]), feature("MultiPolygon", "wall", [[ring]]), feature("Point", "tip", [1, 1]),
    ]})  # fmt: skip


def maps(root: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    geojson(root)
    (root / "images" / "a.png").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            root / "images" / "a.tif", "w", driver="GTiff", height=8, width=8, count=1, dtype="uint8", crs="EPSG:4326",
            transform=rasterio.transform.from_origin(0, 8, 1, 1),
        ) as file:  # fmt: skip
            file.write(np.full((1, 8, 8), 7, np.uint8))


def manifest(root: Path) -> None:
    plain(root)
    write(
        root,
        "manifest.csv",
        "image,mask,split,group\nimages/a.png,masks/a.png,train,1\nimages/b.png,masks/b.png,val,2\n",
    )


def layered_manifest(root: Path) -> None:
    plain(root)
    write(
        root,
        "manifest.csv",
        "image,mask:cell,mask:wall\nimages/a.png,masks/a.png|masks/b.png,\nimages/b.png,,masks/b.png\n",
    )


def lists(root: Path) -> None:
    plain(root)
    write(root, "train.txt", "a.png\n")
    write(root, "val.txt", "images/b.png masks/b.png\n" * 0 + "b\n")


def nnunet(root: Path) -> None:
    images(root, "imagesTr/a_0000.png", "imagesTr/b_0000.png")
    for name in "ab":
        write(root, f"labelsTr/{name}.png", picture(MASK))
    write(root, "dataset.json", {
        "channel_names": {"0": "red"}, "labels": {"background": 0, "cell": 1, "ignore": 2}, "numTraining": 2,
        "file_ending": ".png",
    })  # fmt: skip


def table_beside(name: str, content: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        plain(root)
        (root / "classes.toml").unlink()
        write(root, name, content)

    return make


def project(root: Path) -> None:
    from maskwright.imaging.decoders import Window
    from maskwright.label.patches import encode
    from maskwright.label.store import Origin, Patch, Project

    images(root, "images/a.png", "images/b.png")
    with Project(root, classes=["x", "y"], pause=None) as opened:
        payload = encode(np.full((4, 4), 1, np.uint16))
        opened.apply(Patch(image="a", base=opened.image("a").revision, author="ada", seconds=1, box=Window(0, 0, 4, 4),
                           payload=payload, origin=Origin.HUMAN, model=None))  # fmt: skip


def voc(root: Path) -> None:
    converted("voc")(root)


CLASSES = '[{"name": "b", "id": 0}, {"name": "c", "id": 1, "color": [1, 2, 3]}, {"name": "w", "id": 2}]'
FORMATS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "coco": (converted("coco"), ("**/*.json",)),
    "coco-runs": (coco_runs, ("*.json",)),
    "labelme": (labelme, ("*.json",)),
    "supervisely": (supervisely, ("**/*.json",)),
    "cvat": (cvat, ("*.xml",)),
    "voc": (voc, ("**/*.txt",)),
    "yolo": (converted("yolo"), ("**/*.txt", "data.yaml")),
    "run-lengths": (run_lengths, ("*.csv",)),
    "geojson": (geojson, ("labels/*.geojson",)),
    "maps": (maps, ("labels/*.geojson",)),
    "manifest": (manifest, ("*.csv", "classes.toml")),
    "layered-manifest": (layered_manifest, ("*.csv",)),
    "lists": (lists, ("*.txt",)),
    "nnunet": (nnunet, ("dataset.json",)),
    "classes.toml": (plain, ("classes.toml",)),
    "class_dict.csv": (table_beside("class_dict.csv", "name,r,g,b\nback,0,0,0\ncell,1,1,1\nwall,2,2,2\n"), ("*.csv",)),
    "classes.txt": (table_beside("classes.txt", "back\ncell\nwall\n"), ("*.txt",)),
    "classes.json": (table_beside("classes.json", CLASSES), ("*.json",)),
    "labels.yaml": (table_beside("labels.yaml", '{"names": {"0": "back", "1": "cell", "2": "wall"}}'), ("*.yaml",)),
    "project": (project, ("maskwright.sqlite", "classes.toml")),
}  # fmt: skip


def changes(path: Path) -> Iterator[Change]:
    """All changes of one value of a file."""
    if path.suffix in (".json", ".geojson"):
        yield from _json_changes(path)
    elif path.suffix == ".xml":
        yield from _text_changes(path, r'(?<=")[^"<>]*(?=")|(?<=>)[^<>\s]+(?=<)')
    elif path.suffix == ".csv":
        yield from _cell_changes(path)
    elif path.suffix == ".sqlite":
        yield from _row_changes(path)
    elif path.suffix == ".toml":
        yield from _text_changes(
            path,
            r"(?<== ).+",
            [
                '""',
                "-1",
                "[]",
                "{}",
                "inf",
                "nan",
                "1e300",
                str(2**62),
                '"' + "x" * 9999 + '"',
                "[[1]]",
                "true",
                "1979-05-27",
            ],
        )
    else:
        yield from _text_changes(path, r"[^\s:,]+")
    content = path.read_bytes()
    whole = {
        "nothing in it": b"",
        "a byte order mark": b"\xef\xbb\xbf" + content,
        "Latin-1": content.replace(b"a", b"\xe9"),
        "UTF-16": content.decode("latin-1").encode("utf-16"),
        "zero bytes": bytes(len(content)),
    } | {f"cut at {part}0 %": content[: len(content) * part // 10] for part in range(1, 10)}
    for what, other in whole.items():
        yield what, partial(bytes, other)


def _json_changes(path: Path) -> Iterator[Change]:
    content = json.loads(path.read_text("utf-8"))
    yield "nested", partial(DEEP.encode)
    for way in _ways(content):
        for value in VALUES:
            yield f"{way} = {str(value)[:40]!r}", partial(_replaced, content, way, value)
        yield f"{way} twice", partial(_doubled, content, way)
        yield f"{way} gone", partial(_without, content, way)


def _ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, part in inner:
        yield from _ways(part, (*way, key))


def _at(content: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        content = content[key]
    return content


def _replaced(content: Any, way: tuple[Any, ...], value: Any) -> bytes:
    changed = copy.deepcopy([content])
    _at(changed, (0, *way)[:-1])[(0, *way)[-1]] = "HUGE" if value is HUGE else value
    return json.dumps(changed[0]).replace('"HUGE"', "1e400").encode()


def _doubled(content: Any, way: tuple[Any, ...]) -> bytes:
    changed = copy.deepcopy([content])
    holder, key = _at(changed, (0, *way)[:-1]), (0, *way)[-1]
    if isinstance(holder, list) and way:
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[key] = [holder[key], holder[key]]
    return json.dumps(changed[0]).encode()


def _without(content: Any, way: tuple[Any, ...]) -> bytes:
    changed = copy.deepcopy([content])
    del _at(changed, (0, *way)[:-1])[(0, *way)[-1]]
    return json.dumps(changed[0] if changed else None).encode()


def _joined(parts: list[str]) -> bytes:
    return "".join(parts).encode()


def _text_changes(path: Path, pattern: str, texts: list[str] = TEXTS) -> Iterator[Change]:
    text = path.read_text("utf-8")
    for found in re.finditer(pattern, text):
        for value in texts:
            what = f"{found[0][:30]!r} at {found.start()} = {value[:40]!r}"
            yield what, partial(_joined, [text[: found.start()], value, text[found.end() :]])
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        yield f"line {number} twice: {line[:30]!r}", partial(_joined, [*lines[: number + 1], *lines[number:]])
        yield f"line {number} gone: {line[:30]!r}", partial(_joined, [*lines[:number], *lines[number + 1 :]])


def _cell_changes(path: Path) -> Iterator[Change]:
    rows = list(csv.reader(path.read_text().splitlines()))

    def changed(y: int, row: list[str]) -> list[str]:
        return [",".join(cells) + "\n" for cells in [*rows[:y], row, *rows[y + 1 :]]]

    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            for value in [*TEXTS, '"', "a\nb"]:
                what = f"{cell!r} in row {y} = {value[:40]!r}"
                yield what, partial(_joined, changed(y, [*row[:x], value, *row[x + 1 :]]))
        yield f"row {y} twice", partial(_joined, [*changed(y, row), ",".join(row)])
        yield f"row {y} short", partial(_joined, changed(y, row[:1]))


def _row_changes(path: Path) -> Iterator[Change]:
    def changed(statement: str, *values: Any) -> bytes:
        with tempfile.TemporaryDirectory() as place:
            other = Path(place) / "a.sqlite"
            shutil.copy(path, other)
            with closing(sqlite3.connect(other)) as database:
                try:
                    database.execute("PRAGMA ignore_check_constraints = ON")
                    database.execute(statement, values)
                except sqlite3.Error:
                    pass  # the database itself refuses it
                database.commit()
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                database.execute("PRAGMA journal_mode = DELETE")
            return other.read_bytes()

    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(table, row[1]) for table in tables for row in database.execute(f'PRAGMA table_info("{table}")')]
    for table in tables:
        yield f"no {table}", partial(changed, f'DROP TABLE "{table}"')
        yield f"empty {table}", partial(changed, f'DELETE FROM "{table}"')
    for table, column in columns:
        for value in (None, "", "x" * 999, -1, 2**62, 1e300, b"\xff\x00", "../../etc/passwd"):
            update = f'UPDATE "{table}" SET "{column}" = ?'
            yield f"{table}.{column} = {str(value)[:20]!r}", partial(changed, update, value)


def tried(root: Path) -> str:
    """Open and read a data set, and look at it as `check` does; the text of the error, if one was given."""
    said = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = open_dataset(root)
            for sample in data.samples:
                data.read(sample)
        except MaskwrightError as error:
            said = str(error)
            assert len(said) < 10_000, "the error is as long as what it is about"
        with suppress(MaskwrightError):
            find_layout(root, problems=[])
    return said


def cases(name: str, root: Path) -> list[tuple[Path, Change]]:
    """A valid data set of a format at `root`, and all changes of its files."""
    make, patterns = FORMATS[name]
    make(root)
    assert tried(root) == "", "the set is valid before it is changed"
    files = sorted({path for pattern in patterns for path in root.glob(pattern) if path.name != ".maskwright.jsonl"})
    return [(path, change) for path in files for change in changes(path)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_other_values_than_the_format_says_are_explained(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    every = cases(name, root)
    for path, (what, content) in random.Random(f"{name} 18").sample(every, min(CASES_A_FORMAT, len(every))):
        before = path.read_bytes()
        path.write_bytes(content())
        try:
            tried(root)
        except Exception as error:
            raise AssertionError(f"{path.relative_to(root)}: {what}") from error
        path.write_bytes(before)


def main() -> int:
    """Try all changes of the formats named, or of all; print those that end in a traceback."""
    failed = 0
    for name in sys.argv[1:] or FORMATS:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place) / "data"
            every = cases(name, root)
            seen: set[str] = set()
            for path, (what, content) in every:
                before = path.read_bytes()
                path.write_bytes(content())
                try:
                    tried(root)
                except Exception as error:
                    failed += 1
                    own = [
                        frame for frame in traceback.extract_tb(error.__traceback__) if "/maskwright/" in frame.filename
                    ]
                    where = f"{own[-1].filename.split('/maskwright/')[-1]}:{own[-1].lineno}" if own else ""
                    if where not in seen:
                        seen.add(where)
                        said = f"{type(error).__name__}: {str(error)[:120]}"
                        print(f"{name}: {path.relative_to(root)}: {what}: {said} ({where})", flush=True)
                path.write_bytes(before)
            print(f"{name}: {len(every)} changes, {len(seen)} places of tracebacks", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
