// Superpixels of the open image, in windows of 1024 x 1024 that are made when they are first seen.

import { ask } from "./api.js";

/** @typedef {import("./api.js").ImageState} ImageState */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./overlay.js").Part} Part */
/** One superpixel: its window and its number there. @typedef {{row: number, column: number, id: number}} Region */
/** @typedef {{ids: Uint16Array, width: number, height: number}} Window */

export const EDGE = 1024;
const LINE = 0x90ffffff | 0; // white, more than half

export class Superpixels {
  /** @param {ImageState} image @param {number} area @param {() => void} arrived */
  constructor(image, area, arrived) {
    this.image = image;
    this.area = area;
    this.arrived = arrived;
    /** @type {Map<string, Window | null>} */
    this.windows = new Map();
    this.loading = 0;
  }

  /** @param {number} row @param {number} column @returns {Window | null} */
  window(row, column) {
    const key = `${row} ${column}`;
    const found = this.windows.get(key);
    if (found === undefined) {
      this.windows.set(key, null);
      void this.load(row, column, key);
    }
    return found ?? null;
  }

  /** @param {number} row @param {number} column @param {string} key */
  async load(row, column, key) {
    this.loading++;
    this.arrived();
    try {
      const answer = await ask(`images/${this.image.id}/superpixels/${row}/${column}?area=${this.area}`);
      const width = Math.min(EDGE, this.image.width - column * EDGE);
      const height = Math.min(EDGE, this.image.height - row * EDGE);
      this.windows.set(key, { ids: new Uint16Array(await answer.arrayBuffer()), width, height });
    } catch {
      setTimeout(() => this.windows.delete(key), 2000);
    } finally {
      this.loading--;
      this.arrived();
    }
  }

  /** @param {number} x @param {number} y @returns {Region | null} */
  at(x, y) {
    if (x < 0 || y < 0 || x >= this.image.width || y >= this.image.height) return null;
    const [row, column] = [Math.floor(y / EDGE), Math.floor(x / EDGE)];
    const window = this.window(row, column);
    return window && { row, column, id: window.ids[(y - row * EDGE) * window.width + x - column * EDGE] ?? 0 };
  }

  /** The rows of a superpixel. @param {Region} region @param {import("./shapes.js").Span} span */
  rows({ row, column, id }, span) {
    const window = this.window(row, column);
    if (!window) return;
    const { ids, width, height } = window;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (ids[y * width + x] !== id) continue;
        const x0 = x;
        while (x < width && ids[y * width + x] === id) x++;
        span(row * EDGE + y, column * EDGE + x0, column * EDGE + x);
      }
    }
  }

  /** Lines between superpixels, into a part of the screen. @param {Int32Array} out @param {Part} part @param {View} view */
  paint(out, part, view) {
    const across = part.x1 - part.x0;
    /** @param {number} sx @param {number} sy */
    const code = (sx, sy) => {
      const [x, y] = [Math.floor(view.x + (sx + 0.5) / view.scale), Math.floor(view.y + (sy + 0.5) / view.scale)];
      if (x < 0 || y < 0 || x >= this.image.width || y >= this.image.height) return -1;
      const window = this.window(Math.floor(y / EDGE), Math.floor(x / EDGE));
      return window ? /** @type {number} */ (window.ids[(y % EDGE) * window.width + (x % EDGE)]) : -1;
    };
    /** @type {number[]} */
    let above = [];
    for (let sy = part.y0; sy < part.y1; sy++) {
      const current = [];
      let left = -1;
      for (let i = 0; i < across; i++) {
        const own = code(part.x0 + i, sy);
        if (own >= 0 && ((left >= 0 && left !== own) || ((above[i] ?? -1) >= 0 && above[i] !== own))) {
          out[(sy - part.y0) * across + i] = LINE;
        }
        current.push(own);
        left = own;
      }
      above = current;
    }
  }
}

/** @param {Region | null} a @param {Region | null} b */
export const same = (a, b) => a === b || (!!a && !!b && a.id === b.id && a.row === b.row && a.column === b.column);
