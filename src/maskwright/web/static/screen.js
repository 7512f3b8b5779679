// The canvases: image, labels, and what belongs to the cursor, one over the other, each as large as the screen's part.

import { covering, paint, paletteOf } from "./overlay.js";

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./overlay.js").Part} Part */
/** @typedef {import("./api.js").LabelClass} LabelClass */

export class Screen {
  /**
   * @param {HTMLElement} stage @param {Editor} editor @param {() => LabelClass[]} classes
   * @param {(context: CanvasRenderingContext2D, ratio: number) => void} drawCursor
   */
  constructor(stage, editor, classes, drawCursor) {
    this.stage = stage;
    this.editor = editor;
    this.classes = classes;
    this.drawCursor = drawCursor;
    this.ratio = 1;
    this.peek = false; // labels hidden for a moment
    const layer = (/** @type {string} */ name) => {
      const canvas = document.createElement("canvas");
      canvas.className = name;
      stage.append(canvas);
      return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: name !== "image" }));
    };
    this.image = layer("image");
    this.overlay = layer("overlay");
    this.cursor = layer("cursor");
    /** @type {{image: boolean, overlay: boolean, cursor: boolean, parts: Part[]}} */
    this.stale = { image: true, overlay: true, cursor: true, parts: [] };
    this.waiting = false;
    this.buffer = new Int32Array(0);
    new ResizeObserver(([entry]) => entry && this.resize(entry)).observe(stage, { box: "content-box" });
  }

  /** @param {ResizeObserverEntry} entry */
  resize(entry) {
    this.ratio = window.devicePixelRatio;
    const width = Math.max(1, Math.round(entry.contentRect.width * this.ratio));
    const height = Math.max(1, Math.round(entry.contentRect.height * this.ratio));
    for (const context of [this.image, this.overlay, this.cursor]) {
      context.canvas.width = width;
      context.canvas.height = height;
    }
    this.editor.view.resize({ width, height });
    this.moved();
  }

  /** Everything is drawn again: the view has moved. */
  moved() {
    this.redraw("image", "overlay", "cursor");
    this.editor.tell("moved");
  }

  /** @param {("image" | "overlay" | "cursor")[]} layers */
  redraw(...layers) {
    for (const layer of layers) this.stale[layer] = true;
    this.ask();
  }

  /** Labels have changed within a box of the image. @param {number} left @param {number} top @param {number} right @param {number} bottom */
  changed(left, top, right, bottom) {
    const part = covering(this.editor.view, left, top, right, bottom);
    if (part) this.stale.parts.push(part);
    this.ask();
  }

  ask() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const { stale, editor, image, cursor } = this;
    const { width, height } = editor.view.screen;
    this.stale = { image: false, overlay: false, cursor: false, parts: [] };
    if (stale.image) {
      image.fillStyle = getComputedStyle(this.stage).backgroundColor;
      image.fillRect(0, 0, width, height);
      if (editor.settings.image) editor.tiles?.draw(image, editor.view);
    }
    if (stale.overlay) this.paintLabels({ x0: 0, y0: 0, x1: width, y1: height });
    else for (const part of stale.parts) this.paintLabels(part);
    if (stale.cursor) {
      cursor.clearRect(0, 0, width, height);
      if (editor.image) this.drawCursor(cursor, this.ratio);
    }
  }

  /** @param {Part} part */
  paintLabels(part) {
    const { editor, overlay } = this;
    const { map, settings, view, suggestion } = editor;
    const [width, height] = [part.x1 - part.x0, part.y1 - part.y0];
    if (width <= 0 || height <= 0) return;
    if (this.buffer.length < width * height) this.buffer = new Int32Array(width * height);
    const out = this.buffer.subarray(0, width * height).fill(0);
    if (editor.image && !this.peek) {
      const { alone, outlines } = settings;
      const size = { width: map.width, height: map.height };
      if (suggestion && settings.suggestions) {
        const palette = paletteOf(this.classes(), settings.suggested, { outlines: true, alone });
        paint(out, part, view, { values: suggestion, ...size, palette, hatched: true, over: map.values });
      }
      if (settings.labels) {
        const palette = paletteOf(this.classes(), settings.opacity, { outlines, alone });
        paint(out, part, view, { values: map.values, ...size, palette });
      }
      if (settings.tool === "superpixel") editor.regions?.paint(out, part, view);
    }
    const bytes = new Uint8ClampedArray(/** @type {ArrayBuffer} */ (out.buffer), 0, width * height * 4);
    overlay.putImageData(new ImageData(bytes, width, height), part.x0, part.y0);
  }
}
