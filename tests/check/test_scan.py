"""The pass over all pairs: processes, the cache, and what changes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import psutil
import pytest
from PIL import Image

from maskwright.check import scan as module
from maskwright.check import scan_result
from maskwright.check.measure import measure
from maskwright.check.scan import scan
from maskwright.check.scan_result import Measured
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
        return measure(sample, ignored)

    monkeypatch.setattr(module, "measure", counted)
    return seen


def test_records_survive_json(samples: tuple[Sample, ...]) -> None:
    for measured in scan(samples, NONE):
        assert measured.picture is not None
        assert measured.labels is not None
        assert Measured.from_json(json.loads(json.dumps(measured.to_json()))) == measured


def test_a_pair_is_measured(samples: tuple[Sample, ...]) -> None:
    (measured,) = scan(samples[:1], NONE)
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
    found = scan(samples, NONE, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert found == scan(samples, NONE, workers=1)
    assert seen[0] == (0, 8)
    assert seen[-1] == (8, 8)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_check_that_is_killed_takes_its_processes_with_it(discs: Path, tmp_path: Path, number: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import time
from pathlib import Path
from maskwright.check.scan import scan
from maskwright.datasets.formats import find_layout
if __name__ == "__main__":
    def tell(done, total):
        if done:
            print("at work", flush=True)
            time.sleep(60)
    scan(find_layout(Path({str(discs)!r})).samples, frozenset(), workers=2, progress=tell)
""")
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(number)
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_an_interrupted_survey_goes_on(samples: tuple[Sample, ...], tmp_path: Path, looks: list[str]) -> None:
    cache = tmp_path / "out" / "cache.jsonl"

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(samples, NONE, cache=cache, workers=1, progress=stop)
    first = set(looks)
    looks.clear()
    found = scan(samples, NONE, cache=cache, workers=1)
    assert len(first) == 3
    assert sorted(looks) == sorted(sample.id for sample in samples if sample.id not in first)
    assert found == scan(samples, NONE, workers=1)
    looks.clear()
    assert scan(samples, NONE, cache=cache, workers=1) == found
    assert looks == []


def test_a_torn_line_is_measured_again(samples: tuple[Sample, ...], tmp_path: Path, looks: list[str]) -> None:
    cache = tmp_path / "cache.jsonl"
    whole = scan(samples, NONE, cache=cache, workers=1)
    content = cache.read_text()
    cache.write_text(content[: len(content) - 300])
    looks.clear()
    assert scan(samples, NONE, cache=cache, workers=1) == whole
    assert looks == [samples[-1].id]
    lines = [json.loads(line) for line in cache.read_text().splitlines() if line]
    assert len(lines) == 8  # what was torn is gone


def test_a_changed_file_and_other_settings_are_measured_again(
    samples: tuple[Sample, ...], tmp_path: Path, looks: list[str]
) -> None:
    cache = tmp_path / "cache.jsonl"
    scan(samples, NONE, cache=cache, workers=1)
    looks.clear()
    path = samples[2].image.path
    os.utime(path, ns=(1, 1))
    scan(samples, NONE, cache=cache, workers=1)
    assert looks == [samples[2].id]
    looks.clear()
    scan(samples, frozenset({7}), cache=cache, workers=1)
    assert len(looks) == 8


def test_a_decoder_that_kills_its_process_is_a_finding(
    samples: tuple[Sample, ...], tmp_path: Path, crash: Callable[[Sample], Sample]
) -> None:
    broken = crash(samples[3])
    found = scan((*samples[:3], broken, *samples[4:]), NONE, workers=2)
    assert [bool(measured.unread) for measured in found] == [False] * 3 + [True] + [False] * 4
    assert "the decoder crashed" in found[3].unread[0].what


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


def test_other_fields_or_another_way_of_measuring_make_other_records() -> None:
    @dataclass(frozen=True)
    class Spot(scan_result.Spot):
        depth: int = 0

    known = scan_result.RECORD_FORMAT
    assert scan_result._format() == known
    assert scan_result._format(measured_by=scan_result.MEASURED_BY + 1) != known
    assert scan_result._format([Spot if one is scan_result.Spot else one for one in scan_result.RECORDS]) != known


def test_every_record_counts_for_the_format() -> None:
    """All dataclasses that a record is made of, whatever their depth."""

    def parts(record: type) -> set[type]:
        hints = get_type_hints(record, vars(scan_result))
        found = {record}
        for hint in hints.values():
            for one in (hint, *get_args(hint)):
                if isinstance(one, type) and is_dataclass(one):
                    found |= parts(one)
        return found

    assert set(scan_result.RECORDS) == parts(Measured)


def test_records_of_another_format_are_measured_again(
    samples: tuple[Sample, ...], tmp_path: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache.jsonl"
    scan(samples, NONE, cache=cache, workers=1)
    looks.clear()
    monkeypatch.setattr(module, "RECORD_FORMAT", "another")
    scan(samples, NONE, cache=cache, workers=1)
    assert len(looks) == 8
