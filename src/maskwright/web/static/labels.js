// The label map of the open image: one byte for each pixel, and strokes that change it.

import { applyRuns, encode, KEEP, UNLABELLED } from "./runs.js";

/** @typedef {import("./runs.js").Box} Box */
/** What a stroke did: the box, and the values before and after it, as runs with KEEP where nothing changed.
 * @typedef {{box: Box, before: Uint8Array<ArrayBuffer>, after: Uint8Array<ArrayBuffer>}} Change */
/** Which values may be replaced: 1 by value. @typedef {Uint8Array} Allowed */

const EDGE = 128; // of the squares whose old values a stroke keeps

export class LabelMap {
  /** @param {number} width @param {number} height @param {Uint8Array} [values] */
  constructor(width, height, values) {
    this.width = width;
    this.height = height;
    this.values = values ?? new Uint8Array(width * height).fill(UNLABELLED);
  }

  /** @param {number} x @param {number} y */
  at(x, y) {
    return x < 0 || y < 0 || x >= this.width || y >= this.height ? UNLABELLED : (this.values[y * this.width + x] ?? UNLABELLED);
  }

  /** Pixels of each class. @returns {Record<string, number>} */
  counts() {
    const found = new Uint32Array(256);
    const { values } = this;
    for (const value of values) found[value] = /** @type {number} */ (found[value]) + 1;
    return Object.fromEntries([...found.entries()].filter(([value, pixels]) => pixels && value !== UNLABELLED));
  }

  /** @param {Box} box @param {Uint8Array} runs */
  apply(box, runs) {
    applyRuns(this.values, this.width, box, runs);
  }
}

/**
 * Which values a stroke may replace.
 * @param {Iterable<number>} locked values that stay
 * @param {boolean} onlyUnlabelled
 * @returns {Allowed}
 */
export function allowedValues(locked, onlyUnlabelled) {
  const allowed = new Uint8Array(256).fill(onlyUnlabelled ? 0 : 1);
  allowed[UNLABELLED] = 1;
  for (const value of locked) allowed[value] = 0;
  return allowed;
}

/** A change in the making. It writes into the map at once, and keeps what was there before. */
export class Stroke {
  /** @param {LabelMap} map @param {Allowed} allowed */
  constructor(map, allowed) {
    this.map = map;
    this.allowed = allowed;
    /** @type {Map<number, Uint8Array>} */
    this.old = new Map();
    this.across = Math.ceil(map.width / EDGE);
    this.top = Infinity;
    this.left = Infinity;
    this.bottom = -1;
    this.right = -1;
  }

  /**
   * Give pixels of a row a value, from x0 to before x1, where that is allowed.
   * @param {number} y @param {number} x0 @param {number} x1 @param {number} value
   */
  span(y, x0, x1, value) {
    const { width, height, values } = this.map;
    if (y < 0 || y >= height) return;
    x0 = Math.max(0, x0);
    x1 = Math.min(width, x1);
    if (x0 >= x1) return;
    const row = y * width;
    let first = -1;
    let last = -1;
    for (let x = x0; x < x1; x++) {
      const old = /** @type {number} */ (values[row + x]);
      if (old === value || !this.allowed[old]) continue;
      if (first < 0) {
        first = x;
        for (let column = Math.floor(x / EDGE); column * EDGE < x1; column++) this.keep(Math.floor(y / EDGE), column);
      }
      last = x;
      values[row + x] = value;
    }
    if (first < 0) return;
    if (y < this.top) this.top = y;
    if (y > this.bottom) this.bottom = y;
    if (first < this.left) this.left = first;
    if (last > this.right) this.right = last;
  }

  /** @param {number} row @param {number} column */
  keep(row, column) {
    const place = row * this.across + column;
    if (this.old.has(place)) return;
    const { width, height, values } = this.map;
    const copy = new Uint8Array(EDGE * EDGE);
    const x = column * EDGE;
    for (let y = row * EDGE, at = 0; y < Math.min(height, (row + 1) * EDGE); y++, at += EDGE) {
      copy.set(values.subarray(y * width + x, y * width + Math.min(width, x + EDGE)), at);
    }
    this.old.set(place, copy);
  }

  /** What the stroke has done so far; null if nothing. @returns {Change | null} */
  change() {
    if (this.bottom < 0) return null;
    const { width, values } = this.map;
    const boxWidth = this.right - this.left + 1;
    const boxHeight = this.bottom - this.top + 1;
    const before = new Uint16Array(boxWidth * boxHeight).fill(KEEP);
    const after = new Uint16Array(boxWidth * boxHeight).fill(KEEP);
    for (const [place, copy] of this.old) {
      const x = (place % this.across) * EDGE;
      const y = Math.floor(place / this.across) * EDGE;
      const x0 = Math.max(x, this.left);
      const x1 = Math.min(x + EDGE, this.right + 1);
      for (let row = Math.max(y, this.top); row < Math.min(y + EDGE, this.bottom + 1); row++) {
        for (let column = x0; column < x1; column++) {
          const was = /** @type {number} */ (copy[(row - y) * EDGE + column - x]);
          const is = /** @type {number} */ (values[row * width + column]);
          if (was === is) continue;
          const at = (row - this.top) * boxWidth + column - this.left;
          before[at] = was;
          after[at] = is;
        }
      }
    }
    return { box: [this.top, this.left, boxHeight, boxWidth], before: encode(before), after: encode(after) };
  }

  /** Put everything back. */
  cancel() {
    const change = this.change();
    if (change) this.map.apply(change.box, change.before);
  }
}

/** The labels of another map of the same size, where there are none. @param {Stroke} stroke @param {LabelMap} from */
export function copyInto(stroke, { width, height, values }) {
  const only = allowedValues([], true);
  stroke.allowed = only;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; ) {
      const value = /** @type {number} */ (values[y * width + x]);
      const x0 = x;
      while (x < width && values[y * width + x] === value) x++;
      if (value !== UNLABELLED) stroke.span(y, x0, x, value);
    }
  }
}

/** Undo and redo of this session; bounded, since the server knows all of it. */
export class History {
  constructor(most = 16 << 20) {
    this.most = most;
    /** @type {Change[]} */
    this.done = [];
    /** @type {Change[]} */
    this.undone = [];
  }

  /** @param {Change} change */
  add(change) {
    this.done.push(change);
    this.undone = [];
    let bytes = this.done.reduce((sum, one) => sum + one.before.length + one.after.length, 0);
    while (this.done.length > 1 && (bytes > this.most || this.done.length > 100)) {
      const first = /** @type {Change} */ (this.done.shift());
      bytes -= first.before.length + first.after.length;
    }
  }

  undo() {
    const change = this.done.pop();
    if (change) this.undone.push(change);
    return change ?? null;
  }

  redo() {
    const change = this.undone.pop();
    if (change) this.done.push(change);
    return change ?? null;
  }
}
