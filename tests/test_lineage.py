"""benchmarks/lineage.py, but for its training: widths that compare, the place it shows, and the page it fills in."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from maskwright.models import build
from maskwright.models.summary import count_parameters, layer_table

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lineage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lineage", ROOT / "benchmarks" / "lineage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_networks_that_pool_end_at_256_channels_and_have_a_comparable_size(lineage: ModuleType) -> None:
    with torch.device("meta"):
        millions = {name: count_parameters(build(name, 3, 11, o)) / 1e6 for name, o in lineage.NETWORKS.items()}
    assert millions.pop("fcn-flat") < 0.1
    assert all(1.9 < million < 3.6 for million in millions.values()), "as the script and the page say"
    for name in millions:
        rows = layer_table(name, classes=11, size=(256, 256), options=lineage.NETWORKS[name])
        coarsest = min(row.shape[1] for row in rows)
        assert {row.shape[0] for row in rows if row.shape[1] == coarsest and row.kind == "Conv2d"} <= {256, 11}


def test_the_place_shown_is_the_one_with_the_most_boundary(lineage: ModuleType) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[20:24, 31:35] = 1
    mask[2:4, 2:4] = 255  # unlabelled is no boundary
    mask[10, 5] = 1
    rows, columns = lineage.busiest_place(mask, 8)
    assert rows.stop - rows.start == columns.stop - columns.start == 8
    assert rows.start <= 19
    assert rows.stop >= 24
    assert columns.start <= 30
    assert columns.stop >= 35
    assert lineage.busiest_place(mask[:5, :4], 8) == (slice(0, 5), slice(0, 4))


def test_the_page_is_filled_in_between_its_comments_and_nowhere_else(lineage: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{lineage.BEGIN}\nold\n{lineage.END}\nbelow\n", "utf-8")
    for _ in range(2):
        lineage.fill_page(page, "new")
        assert page.read_text("utf-8") == f"above\n{lineage.BEGIN}\n\nnew\n\n{lineage.END}\nbelow\n"
    page.write_text("no place", "utf-8")
    with pytest.raises(SystemExit, match="must have these two lines"):
        lineage.fill_page(page, "new")
    ours = (ROOT / "docs" / "from-fcn-to-unet.md").read_text("utf-8")
    assert ours.count(lineage.BEGIN) == ours.count(lineage.END) == 1


def test_rows_are_means_over_seeds_with_their_range(lineage: ModuleType) -> None:
    options = argparse.Namespace(steps=3, seeds=2, crop=64, batch=2, lr=1e-3)
    cost = {"parameters": 1234, "gflops": 1.5, "megabytes": 10.4, "step_seconds": 0.25, "image_seconds": 0.0314}
    results: dict[str, Any] = {
        lineage._key("cells/train", options, name, seed): {"miou": 0.5 + 0.2 * seed, "boundary_f1": 0.4, "cost": cost}
        for name in lineage.NETWORKS
        for seed in range(2)
    }
    rows = lineage.rows_of("cells/train", results, options)
    assert [row["network"] for row in rows] == list(lineage.NETWORKS)
    text = lineage.markdown({"cells": rows}, {"cells": 3}, options)
    line = "| fcn-flat | 1,234 | 1.50 | 10 | 0.25 | 31 | 0.600 (0.500–0.700) | 0.400 (0.400–0.400) |"
    assert line in text.splitlines()
    assert "2 seeds" in text
    assert "(lineage-cells.png)" in text


def test_a_result_is_kept_for_its_data_steps_views_and_widths(lineage: ModuleType) -> None:
    def key(**changes: Any) -> str:
        options = {"steps": 3, "crop": 64, "batch": 2, "lr": 1e-3} | changes
        found: str = lineage._key("cells/train", argparse.Namespace(**options), "unet", 0)
        return found

    assert key() == key(seeds=5)
    assert len({key(), key(steps=4), key(crop=96), key(batch=4), key(lr=1e-4)}) == 5


def test_pictures_are_drawn(lineage: ModuleType, tmp_path: Path) -> None:
    rows = [
        {"network": name, "gflops": 1.0 + place, "miou": 0.5, "boundary_f1": 0.1 * place}
        for place, name in enumerate(lineage.NETWORKS)
    ]
    lineage.draw_scores({"cells": rows, "streets": rows}, tmp_path / "lineage.svg")
    text = (tmp_path / "lineage.svg").read_text("utf-8")
    assert all(text.count(f">{name}<") == 4 for name in lineage.NETWORKS), "two data sets, two scores"
    lineage.draw_scores({"cells": rows, "streets": rows}, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text("utf-8") == text
