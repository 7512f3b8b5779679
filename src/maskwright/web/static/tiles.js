// The image, as tiles of 512 x 512 at the reduction that the screen needs.

import { ask } from "./api.js";

/** @typedef {import("./api.js").ImageFacts} ImageFacts */
/** @typedef {import("./api.js").Shown} Shown */
/** @typedef {import("./view.js").View} View */

const EDGE = 512;
const KEPT = 200;

export class Tiles {
  /** @param {ImageFacts} facts @param {() => void} arrived */
  constructor(facts, arrived) {
    this.facts = facts;
    this.arrived = arrived;
    this.shown = facts.shown;
    /** @type {Map<string, ImageBitmap | Promise<void> | null>} */
    this.kept = new Map();
    this.loading = 0;
    this.closed = new AbortController();
  }

  /** @param {Shown} shown */
  show(shown) {
    this.shown = shown;
    this.arrived();
  }

  close() {
    this.closed.abort();
    for (const tile of this.kept.values()) if (tile instanceof ImageBitmap) tile.close();
    this.kept.clear();
  }

  /** @param {number} level @param {number} row @param {number} column */
  path(level, row, column) {
    const { channels, low, high, gamma } = this.shown;
    return `images/${this.facts.id}/tiles/${level}/${row}/${column}?channels=${channels}&low=${low}&high=${high}&gamma=${gamma}`;
  }

  /** @param {number} level @param {number} row @param {number} column @returns {ImageBitmap | null} */
  get(level, row, column) {
    const path = this.path(level, row, column);
    const found = this.kept.get(path);
    if (found instanceof ImageBitmap) {
      this.kept.delete(path); // the last used are the last in the map
      this.kept.set(path, found);
      return found;
    }
    if (found === undefined) this.kept.set(path, this.load(path));
    return null;
  }

  /** @param {string} path */
  async load(path) {
    this.loading++;
    try {
      const blob = await (await ask(path, { signal: this.closed.signal })).blob();
      const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
      if (this.closed.signal.aborted) return bitmap.close();
      this.kept.set(path, bitmap);
      for (const [old, tile] of this.kept) {
        if (this.kept.size <= KEPT) break;
        if (tile instanceof ImageBitmap) tile.close();
        this.kept.delete(old);
      }
    } catch {
      if (!this.closed.signal.aborted) setTimeout(() => this.kept.delete(path), 1000); // asked again when it is seen
    } finally {
      this.loading--;
      if (!this.closed.signal.aborted) this.arrived();
    }
  }

  /**
   * Draw what is seen; where a tile has not come yet, a coarser one.
   * @param {CanvasRenderingContext2D} context @param {View} view
   */
  draw(context, view) {
    const { levels } = this.facts;
    const wanted = Math.min(levels, Math.max(0, Math.floor(-Math.log2(view.scale) + 1e-6)));
    this.drawLevel(context, view, levels);
    for (let level = levels - 1; level > wanted; level--) this.drawLevel(context, view, level, true);
    if (wanted < levels) this.drawLevel(context, view, wanted);
  }

  /** @param {CanvasRenderingContext2D} context @param {View} view @param {number} level @param {boolean} [known] only what has come */
  drawLevel(context, view, level, known = false) {
    const edge = EDGE << level;
    const { x0, y0, x1, y1 } = view.visible;
    context.imageSmoothingEnabled = view.scale * (1 << level) < 1;
    context.imageSmoothingQuality = "high";
    for (let row = Math.floor(y0 / edge); row * edge < y1; row++) {
      for (let column = Math.floor(x0 / edge); column * edge < x1; column++) {
        const found = this.kept.get(this.path(level, row, column));
        const tile = known ? (found instanceof ImageBitmap ? found : null) : this.get(level, row, column);
        if (!tile) continue;
        const { width, height } = this.facts;
        const from = view.toScreen(column * edge, row * edge);
        const to = view.toScreen(Math.min(width, (column + 1) * edge), Math.min(height, (row + 1) * edge));
        const [left, top] = [Math.round(from.x), Math.round(from.y)];
        context.drawImage(tile, left, top, Math.round(to.x) - left, Math.round(to.y) - top);
      }
    }
  }
}
