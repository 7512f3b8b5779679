"""From FCN to U-Net: what each step of the story costs, and what it does for regions and for their edges.

    python benchmarks/lineage.py                                                 # generated streets
    python benchmarks/lineage.py DATA/isbi/train:DATA/isbi/test DATA/camvid/train:DATA/camvid/val \
        --page docs/from-fcn-to-unet.md

Each TRAIN:TEST pair of folders is given to `maskwright train` with each network of NETWORKS, with the same data, steps,
seed, views, optimiser and rate, and to `maskwright evaluate`. Costs are measured in a process of their own. Run it on
an idle machine: the default steps take about a quarter of an hour per pair on two cores. Finished networks are kept in
--results and not run again: an interrupted benchmark goes on with the network at which it stopped.

It writes `lineage.svg` (scores against cost) and `lineage-NAME.png` (one place full of edges, as each network has it)
into --out. With --page, they go beside that Markdown page, whose part between the two `lineage` comments is replaced.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright import console, runs
from maskwright.synthetic import write_dataset

if TYPE_CHECKING:
    import numpy as np

# Comparable width: every network that pools has 256 channels in its coarsest map, which makes 1.9 to 3.6 million
# parameters. The flat network cannot follow: at 256 channels a step would take minutes. With 32 it already costs more
# than all others, and no other network here has more than 32 channels in its first layer.
NETWORKS: dict[str, dict[str, Any]] = {
    "fcn-flat": {"depth": 8, "width": 32},
    "fcn-encoder-decoder": {"width": 32, "widths": [128, 64, 32, 16, 16]},
    "fcn32s": {"width": 32},
    "fcn16s": {"width": 32},
    "fcn8s": {"width": 32},
    "unet": {"widths": [16, 32, 64, 128, 256]},
    # Not a step of the story but its control: the encoder of the FCNs, so that only the skips differ, and batch norm,
    # which the U-Net above does not have.
    "unet-resnet18": {"width": 32, "widths": [128, 64, 32, 16, 16]},
}
SIDE = 256
"""Height and width of the image for which operations and time are told."""
EDGES = 80
"""Height and width of the place that is shown, in pixels."""
BEGIN, END = "<!-- lineage: written by benchmarks/lineage.py -->", "<!-- lineage: end -->"

COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "network": lambda row: str(row["network"]),
    "parameters": lambda row: f"{row['parameters']:,}",
    "GFLOPs": lambda row: f"{row['gflops']:.2f}",
    "MB of a step": lambda row: f"{row['megabytes']:.0f}",
    "s of a step": lambda row: f"{row['step_seconds']:.2f}",
    "ms of an image": lambda row: f"{1000 * row['image_seconds']:.0f}",
    "mIoU": lambda row: f"{row['miou']:.3f}{row['miou_range']}",
    "boundary F1": lambda row: f"{row['boundary_f1']:.3f}{row['boundary_f1_range']}",
}


def command_output(command: list[str]) -> str:
    """Standard output of a command that must succeed; its messages go where ours go."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"failed with exit status {done.returncode}: {shlex.join(command)}")
    return done.stdout


def train_and_score(name: str, train: str, test: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One network, trained on a folder and scored on another; scores, and the run that they come from."""
    run = runs.fresh_folder(options.results.parent / "lineage", f"{_name_of(train)}-{name}")
    network = [
        word
        for option, value in NETWORKS[name].items()
        for item in (value if isinstance(value, list) else [value])
        for word in (f"--model-options.{option}", str(item))
    ]
    crop = str(options.crop)
    maskwright = [sys.executable, "-m", "maskwright"]
    # No validation: all of the data is for training, and all of the time for steps.
    same = ["--steps", str(options.steps), "--seed", str(seed), "--crop", crop, crop, "--batch", str(options.batch)]
    same += ["--optimizer", "adamw", "--lr", f"{options.lr:g}", "--val-fraction", "0", "--precision", "fp32"]
    command_output([*maskwright, "train", train, "--out", str(run), "--model", name, *network, *same])
    scores = json.loads(command_output([*maskwright, "evaluate", str(run), test, "--json"]))
    return {"miou": scores["miou"], "boundary_f1": scores["mean_boundary_f1"], "iou": scores["iou"], "run": str(run)}


def measure_cost(name: str, channels: int, classes: int, crop: int, batch: int) -> dict[str, Any]:
    """Parameters, operations, time and memory of a network; to be called in a process that has done nothing else."""
    import torch
    from torch.nn import functional as F

    from maskwright.models import Segmenter, build
    from maskwright.models.summary import summarize

    # What torch itself takes at the first step of a process is not the network's.
    small = torch.nn.Conv2d(channels, channels, 3, padding=1)
    first = torch.optim.AdamW(small.parameters())
    small(torch.randn(1, channels, 8, 8)).sum().backward()
    first.step()
    before = _peak_megabytes()
    segmenter = Segmenter(build(name, channels, classes, NETWORKS[name]), mean=[0.0] * channels, std=[1.0] * channels)
    optimizer = torch.optim.AdamW(segmenter.parameters())
    x_BCHW = torch.randn(batch, channels, crop, crop)
    target_BHW = torch.randint(classes, (batch, crop, crop))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(segmenter.train()(x_BCHW), target_BHW).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.inference_mode()
    def predict() -> None:
        segmenter.eval()(torch.randn(1, channels, SIDE, SIDE))

    step_seconds = _median_seconds(step, 4)
    megabytes = _peak_megabytes() - before
    image_seconds = _median_seconds(predict, 9)
    told = summarize(name, in_channels=channels, classes=classes, size=(SIDE, SIDE), options=NETWORKS[name])
    return {
        "parameters": told.parameters,
        "gflops": told.gflops,
        "megabytes": megabytes,
        "step_seconds": step_seconds,
        "image_seconds": image_seconds,
    }


def rows_of(train: str, results: Mapping[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per network: its cost, and the mean and the range of its scores over the seeds."""
    rows = []
    for name in NETWORKS:
        runs_of_it = [results[_key(train, options, name, seed)] for seed in range(options.seeds)]
        row = {"network": name, **runs_of_it[0]["cost"]}
        for score in ("miou", "boundary_f1"):
            values = [one[score] for one in runs_of_it]
            row[score] = statistics.fmean(values)
            row[f"{score}_range"] = f" ({min(values):.3f}–{max(values):.3f})" if len(values) > 1 else ""
        rows.append(row)
    return rows


def draw_scores(tables: Mapping[str, list[dict[str, Any]]], path: Path) -> None:
    """Scores against operations, one row of two plots per data set, as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {"svg.hashsalt": "lineage", "svg.fonttype": "none", "font.size": 9}
    with mpl.rc_context(style), runs.replacing(path) as temporary:
        figure = Figure(figsize=(9, 3.6 * len(tables)), layout="constrained")
        axes = figure.subplots(len(tables), 2, squeeze=False)
        for (data, rows), pair in zip(tables.items(), axes, strict=True):
            for axis, (score, label) in zip(pair, (("miou", "mIoU"), ("boundary_f1", "boundary F1")), strict=True):
                for place, row in enumerate(rows):
                    axis.plot(row["gflops"], row[score], "o", color=f"C{place}")
                    note = {"textcoords": "offset points", "xytext": (6, 3), "color": f"C{place}"}
                    axis.annotate(row["network"], (row["gflops"], row[score]), **note)
                axis.set(title=f"{data}: {label}", xlabel=f"GFLOPs at {SIDE} x {SIDE}", ylabel=label, xscale="log")
                axis.margins(x=0.25, y=0.12)
                axis.grid(alpha=0.3)
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def busiest_place(mask_HW: np.ndarray, side: int) -> tuple[slice, slice]:
    """Rows and columns of the square of a mask that has the most boundary; the whole of it where it is smaller."""
    import cv2
    import numpy as np

    from maskwright.datasets.classes import UNLABELLED

    known_HW = mask_HW != UNLABELLED
    edge_HW: np.ndarray = np.zeros(mask_HW.shape, np.float32)
    edge_HW[:-1] += (mask_HW[:-1] != mask_HW[1:]) & known_HW[:-1] & known_HW[1:]
    edge_HW[:, :-1] += (mask_HW[:, :-1] != mask_HW[:, 1:]) & known_HW[:, :-1] & known_HW[:, 1:]
    height, width = (min(side, whole) for whole in mask_HW.shape)
    # The filter's answer at a pixel is the sum over the square that starts there.
    sums: np.ndarray = cv2.boxFilter(
        edge_HW, -1, (width, height), anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    inside = sums[: mask_HW.shape[0] - height + 1, : mask_HW.shape[1] - width + 1]
    top, left = divmod(int(inside.argmax()), inside.shape[1])
    return slice(top, top + height), slice(left, left + width)


def draw_edges(test: str, trained: Mapping[str, str], path: Path) -> None:
    """One place in the image, the truth, and every network's prediction, side by side as PNG.

    The truth alone chooses it: in the middle image of the test set, the square of EDGES pixels with the most boundary.
    """
    from matplotlib.figure import Figure

    from maskwright import Predictor, open_dataset
    from maskwright.imaging.images import display

    predictors = {name: Predictor.load(run) for name, run in trained.items()}
    classes = next(iter(predictors.values())).classes
    dataset = open_dataset(test, classes=classes)
    pair = dataset.read(dataset.samples[len(dataset.samples) // 2])
    place = busiest_place(pair.mask, EDGES)
    pictures = {"image": display(pair.image)[place], "truth": classes.rgb(pair.mask[place])}
    for name, predictor in predictors.items():
        pictures[name] = classes.rgb(predictor(pair.image, pair.valid).mask[place])

    across = -(-len(pictures) // 2)
    figure = Figure(figsize=(2 * across, 4.5), layout="constrained")
    axes = list(figure.subplots(2, across).flat)
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, picture) in zip(axes, pictures.items(), strict=False):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name, fontsize=9)
    with runs.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def markdown(
    tables: Mapping[str, list[dict[str, Any]]], steps_of: Mapping[str, int], options: argparse.Namespace
) -> str:
    """The page's part: what was run, a table and a picture of edges for each data set, and the plot."""
    seeds = "one seed" if options.seeds == 1 else f"{options.seeds} seeds, mean (lowest–highest)"
    parts = [
        f"Steps of {options.batch} views of {options.crop} x {options.crop} pixels, AdamW at "
        f"{options.lr:g}, {seeds}. GFLOPs and the time of an image are for {SIDE} x {SIDE} pixels; the memory and the "
        "time of a step are for the views above, without the program's own memory.",
    ]
    for data, rows in tables.items():
        lines = [" | ".join(["", *cells, ""]).strip() for cells in _cells(rows)]
        lines.insert(1, "| --- |" + " ---: |" * (len(COLUMNS) - 1))
        parts += [
            f"### {data}, {steps_of[data]} steps",
            "\n".join(lines),
            f"![The same edges by each network, {data}](lineage-{data}.png)",
        ]
    return "\n\n".join([*parts, "![Scores against cost](lineage.svg)"])


def fill_page(page: Path, text: str) -> None:
    """Replace what stands between the two comments of a page."""
    content = page.read_text("utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        sys.exit(f"{page} must have these two lines, once each, around the figures:\n{BEGIN}\n{END}")
    before, _, rest = content.partition(BEGIN)
    runs.write_text(page, f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def for_pair(options: argparse.Namespace, steps: str | None) -> argparse.Namespace:
    """The options of one pair of folders: with its own number of steps, if it has one."""
    return options if steps is None else argparse.Namespace(**{**vars(options), "steps": int(steps)})


def main() -> None:
    """Run what has no result yet, then show and draw all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="TRAIN:TEST[:STEPS]")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--crop", type=int, default=192, help="height and width of a view")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--results", type=Path, default=Path("runs/lineage.json"))
    parser.add_argument("--out", type=Path, help="folder of the pictures; by default that of --page or --results")
    parser.add_argument("--page", type=Path, help="Markdown page to fill in")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cost", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cost:
        console.print_json(measure_cost(**json.loads(options.cost)))
        return
    if not options.pairs:
        generated = Path(tempfile.gettempdir()) / "maskwright-lineage" / "streets"
        write_dataset(generated, "street", {"train": 60, "test": 12}, seed=0)
        options.pairs = [f"{generated / 'train'}:{generated / 'test'}"]

    results: dict[str, Any] = runs.read_json(options.results) if options.results.exists() else {}
    tests: dict[str, str] = {}
    options_of: dict[str, argparse.Namespace] = {}
    for train, test, *steps in (pair.split(":") for pair in options.pairs):
        tests[train], options_of[train] = test, for_pair(options, steps[0] if steps else None)
    for train, test in tests.items():
        options = options_of[train]
        for name, seed in ((name, seed) for seed in range(options.seeds) for name in NETWORKS):
            key = _key(train, options, name, seed)
            if key in results:
                continue
            console.say(key)
            results[key] = train_and_score(name, train, test, seed, options)
            runs.write_json(options.results, results)
    # Costs in one stretch at the end, so that they are measured alike; those of a busy machine can be taken out of
    # the results and measured again without training.
    for train, name in ((train, name) for train in tests for name in NETWORKS):
        key = _key(train, options_of[train], name, 0)
        if "cost" not in results[key]:
            network = runs.read_run(Path(results[key]["run"]))["network"]
            job = {part: network[part] for part in ("name", "channels", "classes")}
            job |= {"crop": options_of[train].crop, "batch": options_of[train].batch}
            console.say(f"cost of {name} on {train}")
            results[key]["cost"] = json.loads(command_output([sys.executable, __file__, "--cost", json.dumps(job)]))
            runs.write_json(options.results, results)

    tables = {_name_of(train): rows_of(train, results, options_of[train]) for train in tests}
    out = options.out or (options.page or options.results).parent
    draw_scores(tables, out / "lineage.svg")
    for train, test in tests.items():
        trained = {name: results[_key(train, options_of[train], name, 0)]["run"] for name in NETWORKS}
        draw_edges(test, trained, out / f"lineage-{_name_of(train)}.png")
    if options.page:
        steps_of = {_name_of(train): options_of[train].steps for train in tests}
        fill_page(options.page, markdown(tables, steps_of, options))
    if options.json:
        console.print_json(tables)
        return
    for data, rows in tables.items():
        head, *cells = _cells(rows)
        console.print_table(data, head, cells)
    console.say(f"Pictures: {out}")


def _key(train: str, options: argparse.Namespace, name: str, seed: int) -> str:
    width = " ".join(f"{option} {value}" for option, value in NETWORKS[name].items())
    views = f"{options.steps} steps of {options.batch} x {options.crop}² at {options.lr:g}"
    return f"{train} | {views} | {name} ({width}) | seed {seed}"


def _name_of(train: str) -> str:
    folder = Path(train).resolve()
    return folder.parent.name if folder.name == "train" else folder.name


def _cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Heads, then the cells of each row."""
    return [list(COLUMNS), *([show(row) for show in COLUMNS.values()] for row in rows)]


def _median_seconds(call: Callable[[], None], times: int) -> float:
    """Median time of a call, after one that warms up."""
    call()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _peak_megabytes() -> float:
    """The most memory that this process has ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage's figure would begin with the parent's, which a child inherits on Linux.
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
