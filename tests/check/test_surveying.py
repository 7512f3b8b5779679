"""The pass over all pairs: processes, the cache, and what changes it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.check import surveying as module
from maskwright.check.looking import look
from maskwright.check.records import Measured
from maskwright.check.surveying import survey
from maskwright.datasets.formats import find_layout
from maskwright.datasets.samples import Sample

NONE: frozenset[int | str] = frozenset()


@pytest.fixture
def samples(discs: Path) -> tuple[Sample, ...]:
    return find_layout(discs).samples


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The samples that are looked at."""
    seen: list[str] = []

    def counted(sample: Sample, ignored: frozenset[int | str]) -> Measured:
        seen.append(sample.id)
        return look(sample, ignored)

    monkeypatch.setattr(module, "look", counted)
    return seen


def test_records_survive_json(samples: tuple[Sample, ...]) -> None:
    for measured in survey(samples, NONE):
        assert measured.picture is not None
        assert measured.labels is not None
        assert Measured.from_json(json.loads(json.dumps(measured.to_json()))) == measured


def test_a_pair_is_measured(samples: tuple[Sample, ...]) -> None:
    (measured,) = survey(samples[:1], NONE)
    pixels = np.asarray(Image.open(samples[0].image.path))
    assert measured.picture is not None
    assert measured.picture.shape == (40, 48)
    assert measured.picture.dtype == "uint8"
    for channel, values in zip(measured.picture.channels, np.moveaxis(pixels, 2, 0), strict=True):
        assert channel.mean == pytest.approx(values.mean())
        assert (channel.quantiles[0], channel.quantiles[-1]) == (values.min(), values.max())
        assert channel.quantiles[4] == pytest.approx(np.median(values))
    assert measured.labels is not None
    assert {count.value for count in measured.labels.counts} == {0, 7}


def test_processes_measure_what_one_process_does(samples: tuple[Sample, ...]) -> None:
    seen: list[tuple[int, int]] = []
    found = survey(samples, NONE, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert found == survey(samples, NONE, workers=1)
    assert seen[0] == (0, 8)
    assert seen[-1] == (8, 8)


def test_an_interrupted_survey_goes_on(samples: tuple[Sample, ...], tmp_path: Path, looks: list[str]) -> None:
    cache = tmp_path / "out" / "cache.jsonl"

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(samples, NONE, cache=cache, workers=1, progress=stop)
    first = set(looks)
    looks.clear()
    found = survey(samples, NONE, cache=cache, workers=1)
    assert len(first) == 3
    assert sorted(looks) == sorted(sample.id for sample in samples if sample.id not in first)
    assert found == survey(samples, NONE, workers=1)
    looks.clear()
    assert survey(samples, NONE, cache=cache, workers=1) == found
    assert looks == []


def test_a_torn_line_is_measured_again(samples: tuple[Sample, ...], tmp_path: Path, looks: list[str]) -> None:
    cache = tmp_path / "cache.jsonl"
    whole = survey(samples, NONE, cache=cache, workers=1)
    content = cache.read_text()
    cache.write_text(content[: len(content) - 300])
    looks.clear()
    assert survey(samples, NONE, cache=cache, workers=1) == whole
    assert looks == [samples[-1].id]
    lines = [json.loads(line) for line in cache.read_text().splitlines() if line]
    assert len(lines) == 8  # what was torn is gone


def test_a_changed_file_and_other_settings_are_measured_again(
    samples: tuple[Sample, ...], tmp_path: Path, looks: list[str]
) -> None:
    cache = tmp_path / "cache.jsonl"
    survey(samples, NONE, cache=cache, workers=1)
    looks.clear()
    path = samples[2].image.path
    os.utime(path, ns=(1, 1))
    survey(samples, NONE, cache=cache, workers=1)
    assert looks == [samples[2].id]
    looks.clear()
    survey(samples, frozenset({7}), cache=cache, workers=1)
    assert len(looks) == 8


def test_a_decoder_that_kills_its_process_is_a_finding(
    samples: tuple[Sample, ...], tmp_path: Path, crash: Callable[[Sample], Sample]
) -> None:
    broken = crash(samples[3])
    found = survey((*samples[:3], broken, *samples[4:]), NONE, workers=2)
    assert [bool(measured.unread) for measured in found] == [False] * 3 + [True] + [False] * 4
    assert "the decoder crashed" in found[3].unread[0].text


@pytest.fixture
def crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sample], Sample]:
    """Makes the source of a sample's image one that ends its process; the class has to be found by other processes."""
    (tmp_path / "crashing.py").write_text(
        "import os\nfrom dataclasses import dataclass\nfrom maskwright.datasets.sources import Source\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Crashing(Source):\n"
        "    def read_image(self):\n        os._exit(11)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib
    from dataclasses import replace

    crashing = importlib.import_module("crashing")
    return lambda sample: replace(sample, image=crashing.Crashing(path=sample.image.path))
