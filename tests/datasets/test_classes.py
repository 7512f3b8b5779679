"""The class table: reading, writing, encoding raw masks, and what it says when values are undeclared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.datasets.classes import NO_CLASSES, UNLABELLED, UNLABELLED_COLOR, ClassTable, LabelClass
from maskwright.errors import ClassTableError, MaskwrightError, UndeclaredValueError
from maskwright.imaging.colors import color_codes, color_name, default_color

CAMVID = """
unlabelled = [11]

[[class]]
name = "Sky"
value = 0
color = "#808080"

[[class]]
name = "Road"
value = [3, 7]

[[class]]
name = "Marking"
value = "#FF8000"
"""


def table(*values: int | str | tuple[int | str, ...], unlabelled: tuple[int | str, ...] = ()) -> ClassTable:
    classes = tuple(
        LabelClass(name=f"c{i}", color=default_color(i), values=v if isinstance(v, tuple) else (v,))
        for i, v in enumerate(values)
    )
    return ClassTable(classes=classes, unlabelled=unlabelled)


def load(tmp_path: Path, text: str) -> ClassTable:
    path = tmp_path / "classes.toml"
    path.write_text(text, "utf-8")
    return ClassTable.load(path)


def test_load_reads_names_values_and_colours(tmp_path: Path) -> None:
    found = load(tmp_path, CAMVID)
    assert found.names == ["Sky", "Road", "Marking"]
    assert [item.values for item in found.classes] == [(0,), (3, 7), ("#ff8000",)]
    assert found.unlabelled == (11,)
    assert found.colors.tolist() == [[128, 128, 128], list(default_color(1)), [255, 128, 0]]
    assert len(found) == 3


def test_a_file_with_a_byte_order_mark_loads(tmp_path: Path) -> None:
    path = tmp_path / "classes.toml"
    path.write_bytes(b"\xef\xbb\xbf" + CAMVID.encode())
    assert len(ClassTable.load(path)) == 3


def test_save_and_load_give_the_same_table(tmp_path: Path) -> None:
    before = load(tmp_path, CAMVID)
    before.save(tmp_path / "again" / "classes.toml")
    assert ClassTable.load(tmp_path / "again" / "classes.toml") == before
    assert ClassTable.from_dict(before.to_dict(), "run.json") == before


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nonsense", ["classes.toml cannot be read as TOML", "[[class]]"]),
        ("", ["declares 0 classes", "two or more", "background included"]),
        ('[[class]]\nname = "a"\nvalue = 0', ["declares 1 classes"]),
        ('classes = 3\n[[class]]\nname = "a"\nvalue = 0', ["unknown key 'classes'", "class, unlabelled"]),
        ('[[class]]\nname = "a"\nvalue = 0\nid = 3\n[[class]]\nname="b"\nvalue=1', ["class 0", "unknown key 'id'"]),
        ('[[class]]\nname = "a"\nvalue = 0\n[[class]]\nname = "b"', ["class 1 (b) has no value", "value = 1"]),
        ('[[class]]\nname = "a"\nvalue = 0\n[[class]]\nname = " "\nvalue = 1', ["class 1 has the name ' '"]),
        ('[[class]]\nname = "a"\nvalue = 0\n[[class]]\nname = "a"\nvalue = 1', ["classes.toml", "named 'a'"]),
        ('[[class]]\nname = "a"\nvalue = 0\n[[class]]\nname = "b"\nvalue = [1, 0]', ["value 0", "'a'", "'b'"]),
        (
            'unlabelled=[1]\n[[class]]\nname="a"\nvalue=0\n[[class]]\nname="b"\nvalue=1',
            ["value 1 is unlabelled", "'b'"],
        ),
        ('[[class]]\nname = "a"\nvalue = 0\n[[class]]\nname = "b"\nvalue = "red"', ["(b): value = 'red'", "#rrggbb"]),
        ('[[class]]\nname = "a"\nvalue = 0\n[[class]]\nname = "b"\nvalue = true', ["value = True"]),
        ('[[class]]\nname = "a"\nvalue = 0\n[[class]]\nname = "b"\nvalue = []', ["(b) has an empty list"]),
        ('[[class]]\nname="a"\nvalue=0\n[[class]]\nname="b"\nvalue=1\ncolor=7', ["(b): color = 7", "#808080"]),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ClassTableError) as error:
        load(tmp_path, text)
    for part in [*parts, str(tmp_path)]:
        assert part in str(error.value)


def test_at_most_255_classes() -> None:
    assert len(table(*range(255))) == 255
    with pytest.raises(ClassTableError, match="256 classes"):
        table(*range(256))


def test_a_table_without_classes_is_for_images_without_masks() -> None:
    assert NO_CLASSES.names == []
    assert NO_CLASSES.colors.shape == (0, 3)


def test_encode_integers() -> None:
    classes = table(0, (3, 7), unlabelled=(11,))
    raw = np.array([[0, 3, 7], [11, 255, 0]], np.uint8)
    encoded = classes.encode(raw, "a.png")
    assert encoded.dtype == np.uint8
    assert encoded.tolist() == [[0, 1, 1], [255, 255, 0]]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.int64, np.uint32])
def test_encode_wide_integers(dtype: type) -> None:
    classes = table(0, 1000, 30000)
    raw: np.ndarray = np.array([[30000, 1000], [0, 255]], dtype)
    assert classes.encode(raw, "a.tif").tolist() == [[2, 1], [0, 255]]


def test_encode_integers_beyond_16_bits_and_below_zero() -> None:
    classes = table(-1, 70000, 5)
    assert classes.encode(np.array([[-1, 70000, 5, 255]], np.int32), "a").tolist() == [[0, 1, 2, 255]]
    with pytest.raises(UndeclaredValueError, match="-2 \\(1 pixels\\)"):
        classes.encode(np.array([[-2, 5]], np.int32), "a")


def test_255_is_foreground_where_a_class_claims_it() -> None:
    classes = table(0, 255)
    assert classes.encode(np.array([[0, 255]], np.uint8), "a").tolist() == [[0, 1]]
    assert classes.claims(255)
    assert not table(0, 1).claims(255)
    assert "unlabelled" not in classes.describe()


def test_encode_colours() -> None:
    classes = table("#000000", "#ff8000", unlabelled=("#0000ff",))
    raw = np.array([[[0, 0, 0], [255, 128, 0], [0, 0, 255]]], np.uint8)
    assert classes.encode(raw, "a.png").tolist() == [[0, 1, 255]]


def test_grey_masks_of_a_colour_set_are_read_as_grey_colours() -> None:
    # A mask that is black everywhere is read as grey 0; with a table of colours it is still black.
    classes = table("#000000", "#ffffff", "#ff0000")
    assert classes.encode(np.array([[0, 255]], np.uint8), "a").tolist() == [[0, 1]]
    with pytest.raises(UndeclaredValueError, match="128"):
        classes.encode(np.array([[0, 128]], np.uint8), "a")
    # White is not silently unlabelled where colours are declared and white is not.
    with pytest.raises(UndeclaredValueError, match="255"):
        table("#000000", "#ff0000").encode(np.array([[255]], np.uint8), "a")


def test_colour_masks_of_a_grey_set_name_only_the_stray_colours() -> None:
    raw = np.array([[[1, 1, 1], [0, 0, 0], [9, 0, 0]]], np.uint8)
    with pytest.raises(UndeclaredValueError) as error:
        table(0, 1).encode(raw, "a.png")
    assert "#090000 (1 pixels)" in str(error.value)
    assert "#010101" not in str(error.value)


def test_undeclared_values_are_listed_with_counts_file_and_remedy() -> None:
    raw = np.array([[0, 7, 7], [9, 1, 255]], np.uint8)
    with pytest.raises(UndeclaredValueError) as error:
        table(0, 1).encode(raw, "data/masks/a.png")
    text = str(error.value)
    for part in ("data/masks/a.png", "7 (2 pixels), 9 (1 pixels)", "0 = c0, 1 = c1, 255 = unlabelled", "classes.toml"):
        assert part in text
    assert "unlabelled = [7, 9]" in text
    assert "JPEG" not in text
    assert isinstance(error.value, MaskwrightError)


def test_many_undeclared_values_suggest_smoothing() -> None:
    with pytest.raises(UndeclaredValueError, match=r"and 242 more[\s\S]*anti-aliasing"):
        table(0, 255, 1, 2, 3, 4).encode(np.arange(256, dtype=np.uint8).reshape(16, 16), "a.png")


def test_an_empty_mask_encodes() -> None:
    assert table(0, 1).encode(np.zeros((0, 5), np.uint8), "a").shape == (0, 5)


@given(st.lists(st.integers(0, 0xFFFFFF), min_size=2, max_size=40, unique=True), st.integers(0, 2**32 - 1))
def test_encode_inverts_a_colour_drawing(codes: list[int], seed: int) -> None:
    colors = [color_name(code) for code in codes]
    classes = ClassTable(
        classes=tuple(
            LabelClass(name=color, color=(code >> 16, code >> 8 & 255, code & 255), values=(color,))
            for code, color in zip(codes, colors, strict=True)
        )
    )
    mask = np.random.default_rng(seed).integers(0, len(codes), (7, 9)).astype(np.uint8)
    assert (classes.encode(classes.rgb(mask), "drawn") == mask).all()
    assert [classes.declares(color) for color in colors] == [True] * len(colors)


def test_pictures_and_palettes_show_class_colours() -> None:
    classes = ClassTable(
        classes=(
            LabelClass(name="a", color=(1, 2, 3), values=(0,)),
            LabelClass(name="b", color=(4, 5, 6), values=(1,)),
        )
    )
    assert classes.rgb(np.array([[1, 0, UNLABELLED]], np.uint8)).tolist() == [
        [[4, 5, 6], [1, 2, 3], [*UNLABELLED_COLOR]]
    ]
    assert list(classes.palette()[:6]) == [1, 2, 3, 4, 5, 6]
    assert list(classes.palette()[-3:]) == [*UNLABELLED_COLOR]
    assert len(classes.palette()) == 768


def test_default_colours_differ() -> None:
    colors = [default_color(index) for index in range(255)]
    assert len(set(colors)) == 255
    assert default_color(3, "Background") == (0, 0, 0)
    assert default_color(0) != (0, 0, 0)
    assert color_name(int(color_codes(np.array(default_color(0), np.uint8)))) == "#0072b2"


def test_agreeing_takes_the_runs_order_and_the_datas_values() -> None:
    run = ClassTable(
        classes=(
            LabelClass(name="cell", color=(1, 1, 1), values=(255,)),
            LabelClass(name="wall", color=(2, 2, 2), values=(0,)),
        )
    )
    data = ClassTable(
        classes=(
            LabelClass(name="wall", color=(9, 9, 9), values=(4,)),
            LabelClass(name="cell", color=(8, 8, 8), values=(5, 6)),
        ),
        unlabelled=(7,),
    )
    both = data.agreeing_with(run, "classes.toml")
    assert both.names == ["cell", "wall"]
    assert both.colors.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert both.encode(np.array([[4, 5, 6, 7]], np.uint8), "a").tolist() == [[1, 0, 0, 255]]


def test_disagreeing_names_are_listed() -> None:
    with pytest.raises(ClassTableError) as error:
        table(0, 1, 2).agreeing_with(
            ClassTable(
                classes=(
                    LabelClass(name="c0", color=(0, 0, 0), values=(0,)),
                    LabelClass(name="x", color=(0, 0, 0), values=(1,)),
                )
            ),
            "test/classes.toml",
        )
    for part in ("test/classes.toml", "lacks 'x'", "does not know 'c1', 'c2'", "Expected these names"):
        assert part in str(error.value)
