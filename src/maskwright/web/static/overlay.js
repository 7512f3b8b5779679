// Label maps as colours, at device resolution: only what is seen, through a palette of 256 entries.

import { UNLABELLED } from "./runs.js";

/** @typedef {import("./view.js").View} View */
/** A part of the screen, device pixels. @typedef {{x0: number, y0: number, x1: number, y1: number}} Part */
/** @typedef {{fill: Int32Array, line: Int32Array}} Palette */
/** A map to paint; `hatched` ones are striped, and hidden where `over` is labelled.
 * @typedef {{values: Uint8Array, width: number, height: number, palette: Palette, hatched?: boolean, over?: Uint8Array}} Layer */

/**
 * Colours by value, as the canvas has them in memory: red first.
 * @param {Iterable<{value: number, color: string}>} classes
 * @param {number} opacity of areas, 0 to 1
 * @param {{outlines?: boolean, alone?: number | null, hidden?: Set<number>}} [how]
 * @returns {Palette}
 */
export function paletteOf(classes, opacity, { outlines = true, alone = null, hidden = new Set() } = {}) {
  const fill = new Int32Array(256); // signed: the numbers stay small ones to the compiler
  const line = new Int32Array(256);
  for (const { value, color } of classes) {
    if ((alone !== null && alone !== value) || hidden.has(value)) continue;
    const code = parseInt(color.slice(1), 16);
    const colour = ((code & 0xff) << 16) | (code & 0xff00) | (code >> 16);
    fill[value] = (Math.round(opacity * 255) << 24) | colour;
    line[value] = outlines ? (0xff << 24) | colour : /** @type {number} */ (fill[value]);
  }
  fill[UNLABELLED] = line[UNLABELLED] = 0;
  return { fill, line };
}

/**
 * Paint a layer into a part of the screen. Pixels without a colour stay as they are.
 * @param {Int32Array} out the part's pixels
 * @param {Part} part
 * @param {View} view
 * @param {Layer} layer
 */
export function paint(out, part, view, { values, width, height, palette, hatched = false, over }) {
  const across = part.x1 - part.x0;
  const columns = new Int32Array(across + 1); // of the pixel before the part, then of each
  for (let i = 0; i <= across; i++) {
    const x = Math.floor(view.x + (part.x0 + i - 0.5) / view.scale);
    columns[i] = x < 0 || x >= width ? -1 : x;
  }
  const rowOf = (/** @type {number} */ y) => {
    const row = Math.floor(view.y + (y + 0.5) / view.scale);
    return row < 0 || row >= height ? -1 : row;
  };
  let above = new Uint8Array(across + 1);
  let current = new Uint8Array(across + 1);
  gather(above, values, columns, rowOf(part.y0 - 1) * width);
  for (let y = part.y0, at = 0; y < part.y1; y++, at += across) {
    const row = rowOf(y);
    if (hatched || row < 0) {
      gather(current, values, columns, row * width);
      if (hatched) colourHatched(out, at, current, above, palette, part.x0 + y, over, columns, row * width);
      else colour(out, at, current, above, palette);
      [above, current] = [current, above];
    } else colourInside(out, at, values, row * width, columns, above, palette);
  }
}

/**
 * The values of a row where the columns are; outside of the image, unlabelled.
 * @param {Uint8Array} row @param {Uint8Array} values @param {Int32Array} columns @param {number} start of the row; below 0 for none
 */
function gather(row, values, columns, start) {
  if (start < 0) {
    row.fill(UNLABELLED);
    return;
  }
  for (let i = 0; i < columns.length; i++) {
    const x = /** @type {number} */ (columns[i]);
    row[i] = x < 0 ? UNLABELLED : /** @type {number} */ (values[start + x]);
  }
}

/**
 * Colours of a row: lines where a pixel differs from the one above or to the left. An unlabelled pixel there takes the
 * neighbour's line, so that an outline is closed on all sides.
 * @param {Int32Array} out @param {number} at @param {Uint8Array} row @param {Uint8Array} above @param {Palette} palette
 */
function colour(out, at, row, above, { fill, line }) {
  let left = /** @type {number} */ (row[0]);
  for (let i = 1; i < row.length; i++, at++) {
    const value = /** @type {number} */ (row[i]);
    const top = /** @type {number} */ (above[i]);
    let code = /** @type {number} */ (fill[value]);
    if (value !== left || value !== top) code = /** @type {number} */ (line[value !== UNLABELLED ? value : left !== UNLABELLED ? left : top]);
    if (code !== 0) out[at] = code;
    left = value;
  }
}

/**
 * The same in one pass, for a row of the image; `above` becomes the row. This is what all painting waits for.
 * @param {Int32Array} out @param {number} at @param {Uint8Array} values @param {number} start @param {Int32Array} columns
 * @param {Uint8Array} above @param {Palette} palette
 */
function colourInside(out, at, values, start, columns, above, { fill, line }) {
  const before = /** @type {number} */ (columns[0]);
  let left = before < 0 ? UNLABELLED : /** @type {number} */ (values[start + before]);
  for (let i = 1; i < columns.length; i++, at++) {
    const x = /** @type {number} */ (columns[i]);
    const value = x < 0 ? UNLABELLED : /** @type {number} */ (values[start + x]);
    const top = /** @type {number} */ (above[i]);
    if (value === left && value === top) {
      if (value !== UNLABELLED) out[at] = /** @type {number} */ (fill[value]);
      continue;
    }
    above[i] = value;
    const code = /** @type {number} */ (line[value !== UNLABELLED ? value : left !== UNLABELLED ? left : top]);
    if (code !== 0) out[at] = code;
    left = value;
  }
}

/**
 * The same with stripes, and only where nothing is labelled.
 * @param {Int32Array} out @param {number} at @param {Uint8Array} row @param {Uint8Array} above @param {Palette} palette
 * @param {number} phase of the stripes @param {Uint8Array | undefined} over @param {Int32Array} columns @param {number} start
 */
function colourHatched(out, at, row, above, { fill, line }, phase, over, columns, start) {
  for (let i = 1; i < row.length; i++, at++) {
    const value = /** @type {number} */ (row[i]);
    if (value === UNLABELLED || (over && over[start + /** @type {number} */ (columns[i])] !== UNLABELLED)) continue;
    if (value !== row[i - 1] || value !== above[i]) out[at] = /** @type {number} */ (line[value]);
    else if (((i - 1 + phase) & 7) < 3) out[at] = /** @type {number} */ (fill[value]);
  }
}

/**
 * The part of the screen that a box of the image covers, with a pixel more for outlines; null if it is not seen.
 * @param {View} view @param {number} left @param {number} top @param {number} right @param {number} bottom
 * @returns {Part | null}
 */
export function covering(view, left, top, right, bottom) {
  const { scale, screen } = view;
  const x0 = Math.max(0, Math.floor((left - view.x) * scale) - 2);
  const y0 = Math.max(0, Math.floor((top - view.y) * scale) - 2);
  const x1 = Math.min(screen.width, Math.ceil((right - view.x) * scale) + 2);
  const y1 = Math.min(screen.height, Math.ceil((bottom - view.y) * scale) + 2);
  return x0 < x1 && y0 < y1 ? { x0, y0, x1, y1 } : null;
}
