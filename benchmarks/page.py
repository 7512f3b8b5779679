"""Is the labelling page fast enough that nobody waits for it?

    python benchmarks/page.py            # a table; needs Chromium and the dev dependencies
    python benchmarks/page.py --json

In headless Chromium, on a 4096 x 4096 image in a window of 1920 x 1080 beside the panels:

    brush     our own work for each pointer event of a brush of radius 50, over 500 events: the handler, and the drawing
              of the frame after it; beside the same events on an empty page, whose handler only asks for a frame
    repaint   all labels of a full-HD view through the palette
    open      from the key press to the next image with its labels and tiles on the screen (1024 x 1024)
    strokes   2,000 strokes on one image: the time of one, from press to the frame after it, in the first and in the
              last hundred; bytes that the page holds at the end, against those after 200 strokes
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import ViewportSize, sync_playwright

from maskwright import console
from maskwright.imaging.decoders import Window
from maskwright.label.patches import encode
from maskwright.label.store import Patch, Project
from maskwright.web.labelling import labelling_page
from maskwright.web.serving import make_server, place_for

BARS = {
    "brush, 95th percentile (ms)": 8.0,
    "repaint of a full-HD view (ms)": 10.0,
    "open the next image (ms)": 300.0,
    "last strokes over first": 1.2,
    "memory at the end over that after 200": 1.1,
}
"""What must not be exceeded."""
EVENTS, STROKES, EARLY = 500, 2000, 200

TIMED = """
() => import('/static/main.js').then(({ app }) => {
  const times = [];
  let handled = 0;
  const move = app.pointer.move.bind(app.pointer);
  app.pointer.move = (event) => { const t = performance.now(); move(event); handled += performance.now() - t; };
  const draw = app.screen.draw.bind(app.screen);
  app.screen.draw = () => {
    const t = performance.now();
    draw();
    if (handled) times.push(handled + performance.now() - t);
    handled = 0;
  };
  window.times = times;
})
"""
EMPTY = """
<!doctype html><style>html { height: 100% }</style><script>
window.times = [];
let handled = 0, waiting = false;
addEventListener('pointermove', (event) => {
  const t = performance.now();
  if (!waiting) requestAnimationFrame(() => { waiting = false; window.times.push(handled); handled = 0; });
  waiting = true;
  handled += performance.now() - t;
});
</script>
"""


def write_images(folder: Path) -> None:
    """One large image and two of usual size, with texture as photographs have."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for name, edge in (("a-large", 4096), ("b", 1024), ("c", 1024), ("d", 1024), ("e", 1024), ("f", 1024)):
        coarse = Image.fromarray(rng.integers(0, 255, (edge // 16, edge // 16, 3), np.uint8)).resize((edge, edge))
        Image.fromarray(np.asarray(coarse)).save(folder / "images" / f"{name}.jpg", quality=90)


def label(project: Project) -> None:
    """Blobs of eight classes over all images: a map with many outlines."""
    rng = np.random.default_rng(1)
    for state in project.images():
        coarse = rng.integers(0, 8, (state.height // 64, state.width // 64), np.uint8)
        values = np.kron(coarse, np.ones((64, 64), np.uint8))
        values[rng.random(values.shape) < 0.001] = 255
        box = Window(0, 0, *state.shape)
        project.apply(Patch(image=state.name, base=0, author="bench", seconds=0, box=box, payload=encode(values)))


@contextmanager
def page_of(folder: Path) -> Iterator[tuple[Any, Any]]:
    """The page of a project in Chromium, and the session that asks about its memory."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        sys.exit("Chromium is needed: apt-get install chromium")
    with Project(folder, classes=[f"class {number}" for number in range(8)]) as project:
        label(project)
        place = place_for(str(folder), ["bench"], port=0)
        started = threading.Event()
        server = make_server(labelling_page(project, place.door), place, started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place.listening]})
        thread.start()
        started.wait()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            size = ViewportSize(width=1920 + 48 + 264 + 2, height=1080 + 44 + 116 + 2)
            page = browser.new_context(viewport=size).new_page()
            page.goto(place.addresses["bench"])
            yield page, page.context.new_cdp_session(page)
            browser.close()
        server.should_exit = True
        thread.join()


def ask(page: Any, what: str) -> Any:
    """The value of an expression about the page's `app`."""
    return page.evaluate(f"async () => {{ const {{ app }} = await import('/static/main.js'); return {what}; }}")


def wait(page: Any, what: str) -> None:
    """Wait until an expression about `app` is true."""
    page.wait_for_function(f"import('/static/main.js').then(({{ app }}) => Boolean({what}))", timeout=60_000)


def wander(page: Any, events: int) -> None:
    """Move the mouse over the image, an event after each other, as a hand that paints."""
    for number in range(events):
        angle = number / 17
        radius = 60 + number % 300
        page.mouse.move(960 + radius * np.cos(angle), 560 + radius * np.sin(angle))


def brush(page: Any) -> list[float]:
    """Milliseconds of our own work for each pointer event."""
    ask(page, "app.use('brush')")
    ask(page, "app.set({ size: 100, value: 3 })")
    page.evaluate(TIMED)
    page.mouse.move(960, 560)
    page.mouse.down()
    wander(page, EVENTS)
    page.mouse.up()
    return list(page.evaluate("window.times"))


def empty(page: Any) -> list[float]:
    """The same events on a page that does nothing."""
    blank = page.context.new_page()
    blank.set_content(EMPTY)
    wander(blank, EVENTS)
    times = list(blank.evaluate("window.times"))
    blank.close()
    return times


def repaint(page: Any) -> float:
    """Milliseconds for all labels of the view, the median of twenty."""
    return float(
        ask(
            page,
            "(() => { const { width, height } = app.editor.view.screen; return Array.from({ length: 20 }, () => {"
            "const t = performance.now(); app.screen.paintLabels({ x0: 0, y0: 0, x1: width, y1: height });"
            "return performance.now() - t; }).sort((a, b) => a - b)[10]; })()",
        )
    )


def opened(page: Any) -> list[float]:
    """Milliseconds from the key press to the next image on the screen."""
    return [
        float(
            page.evaluate(
                """async () => {
                  const { app } = await import('/static/main.js');
                  const before = app.editor.opening;
                  const t = performance.now();
                  app.step(1);
                  const wanted = app.strip.images.find((one) => one.id === app.strip.current).name;
                  const there = () => app.editor.opening !== before && app.editor.image.name === wanted
                    && app.editor.tiles.kept.size && !app.editor.tiles.loading && !app.screen.waiting;
                  while (!there()) await new Promise(requestAnimationFrame);
                  return performance.now() - t;
                }"""
            )
        )
        for _ in range(4)
    ]


def strokes(page: Any, session: Any) -> tuple[float, float, int, int]:
    """Medians of the first and last hundred strokes (ms); bytes held after 200 and at the end."""

    def held() -> int:
        session.send("HeapProfiler.collectGarbage")
        use = session.send("Runtime.getHeapUsage")
        return int(use["usedSize"] + use.get("backingStorageSize", 0))

    def draw(count: int, first: int) -> list[float]:
        return list(
            page.evaluate(
                """async ([count, first]) => {
                  const { app } = await import('/static/main.js');
                  const times = [];
                  for (let i = first; i < first + count; i++) {
                    const [x, y] = [100 + (i * 37) % 3800, 100 + (i * 101) % 3800];
                    app.settings.value = i % 8;
                    await new Promise(requestAnimationFrame);
                    const t = performance.now();
                    app.tools.down({ x, y });
                    for (let k = 1; k < 8; k++) app.tools.move({ x: x + 6 * k, y: y + 4 * k });
                    app.tools.up();
                    app.screen.draw();
                    times.push(performance.now() - t);
                    while (app.outbox.waiting.length > 20) await new Promise((resolve) => setTimeout(resolve, 5));
                  }
                  while (app.outbox.waiting.length) await new Promise((resolve) => setTimeout(resolve, 5));
                  return times;
                }""",
                [count, first],
            )
        )

    times = draw(EARLY, 0)
    early = held()
    times += draw(STROKES - EARLY, EARLY)
    return statistics.median(times[:100]), statistics.median(times[-100:]), early, held()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bench"
        write_images(folder)
        with page_of(folder) as (page, session):
            wait(page, "app.editor.image && !app.editor.tiles.loading")
            ask(page, "app.look(() => app.editor.view.zoom(2, 960, 540))")
            painted, idle = brush(page), empty(page)
            whole = repaint(page)
            first, last, early, late = strokes(page, session)
            openings = opened(page)
    found = {
        "brush, 95th percentile (ms)": float(np.percentile(painted, 95)),
        "repaint of a full-HD view (ms)": whole,
        "open the next image (ms)": statistics.median(openings),
        "last strokes over first": last / first,
        "memory at the end over that after 200": late / early,
    }
    detail = {
        "brush, median (ms)": float(np.median(painted)),
        "brush, frames": len(painted),
        "empty page, 95th percentile (ms)": float(np.percentile(idle, 95)),
        "first strokes, median (ms)": first,
        "held after 200 (MB)": early / 1e6,
    }
    if arguments.json:
        console.print_json({"found": found, "bars": BARS, "detail": detail})
        return
    rows = [
        (name, f"{value:.2f}", f"{BARS[name]:g}", "yes" if value <= BARS[name] else "NO")
        for name, value in found.items()
    ]
    rows += [(name, f"{value:.2f}", "–", "") for name, value in detail.items()]
    console.print_table("The labelling page", ("what", "found", "bar", "kept"), rows)


if __name__ == "__main__":
    main()
