// Regions of a label map: what is connected, holes, specks, and growing, shrinking and smoothing of a class. Each calls
// back for the rows that change; a stroke decides what may.

import { UNLABELLED } from "./runs.js";

/** @typedef {import("./labels.js").LabelMap} LabelMap */
/** @typedef {import("./shapes.js").Span} Span */
/** Takes a row and the value that it gets. @typedef {(y: number, x0: number, x1: number, value: number) => void} Valued */

/**
 * What is connected (by edges) to a pixel and like it.
 * @param {number} width @param {number} height
 * @param {(place: number) => boolean} alike
 * @param {number} x @param {number} y @param {Span} span
 * @param {Uint8Array} [seen] marks what was visited; shared by searches that must not meet
 */
export function connected(width, height, alike, x, y, span, seen = new Uint8Array(width * height)) {
  const open = [y * width + x];
  /** @param {number} place */
  const free = (place) => !seen[place] && alike(place);
  if (!free(y * width + x)) return;
  while (open.length) {
    const start = /** @type {number} */ (open.pop());
    if (!free(start)) continue;
    const row = Math.floor(start / width);
    let x0 = start - row * width;
    let x1 = x0 + 1;
    while (x0 > 0 && free(row * width + x0 - 1)) x0--;
    while (x1 < width && free(row * width + x1)) x1++;
    seen.fill(1, row * width + x0, row * width + x1);
    span(row, x0, x1);
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= height) continue;
      for (let at = x0, inside = false; at < x1; at++) {
        const found = free(next * width + at);
        if (found && !inside) open.push(next * width + at);
        inside = found;
      }
    }
  }
}

/**
 * What lies within a class and is not reached from outside: it becomes the class.
 * @param {LabelMap} map @param {number} value @param {Valued} set
 */
export function fillHoles(map, value, set) {
  const { width, height, values } = map;
  const seen = new Uint8Array(width * height);
  /** @param {number} place */
  const other = (place) => values[place] !== value;
  const from = (/** @type {number} */ x, /** @type {number} */ y) => connected(width, height, other, x, y, () => {}, seen);
  for (let x = 0; x < width; x++) for (const y of [0, height - 1]) from(x, y);
  for (let y = 0; y < height; y++) for (const x of [0, width - 1]) from(x, y);
  everyRun(width, height, (place) => !seen[place] && values[place] !== value, (y, x0, x1) => set(y, x0, x1, value));
}

/**
 * Pieces of a class that are smaller than `least` pixels become what they touch most.
 * @param {LabelMap} map @param {number} value @param {number} least @param {Valued} set
 */
export function removeSpecks(map, value, least, set) {
  const { width, height, values } = map;
  const seen = new Uint8Array(width * height);
  const own = (/** @type {number} */ place) => values[place] === value;
  for (let start = 0; start < values.length; start++) {
    if (seen[start] || !own(start)) continue;
    /** @type {[number, number, number][]} */
    const rows = [];
    let pixels = 0;
    connected(width, height, own, start % width, Math.floor(start / width), (y, x0, x1) => {
      rows.push([y, x0, x1]);
      pixels += x1 - x0;
    }, seen);
    if (pixels >= least) continue;
    const around = new Map();
    for (const [y, x0, x1] of rows) {
      for (let x = x0; x < x1; x++) for (const near of [[x, y - 1], [x, y + 1]]) count(around, map, near, value);
      for (const near of [[x0 - 1, y], [x1, y]]) count(around, map, near, value);
    }
    const [winner] = [...around].sort((a, b) => b[1] - a[1])[0] ?? [UNLABELLED];
    for (const [y, x0, x1] of rows) set(y, x0, x1, winner);
  }
}

/** @param {Map<number, number>} around @param {LabelMap} map @param {number[]} place @param {number} own */
function count(around, map, [x = 0, y = 0], own) {
  if (x < 0 || y < 0 || x >= map.width || y >= map.height) return;
  const value = map.at(x, y);
  if (value !== own) around.set(value, (around.get(value) ?? 0) + 1);
}

/**
 * A class grows by one pixel on all sides.
 * @param {LabelMap} map @param {number} value @param {Valued} set
 */
export function grow(map, value, set) {
  const before = map.values.slice();
  everyRun(map.width, map.height, (place) => before[place] !== value && touches(before, map, place, (v) => v === value),
    (y, x0, x1) => set(y, x0, x1, value));
}

/**
 * A class loses one pixel on all sides; they become unlabelled.
 * @param {LabelMap} map @param {number} value @param {Valued} set
 */
export function shrink(map, value, set) {
  const before = map.values.slice();
  everyRun(map.width, map.height, (place) => before[place] === value && touches(before, map, place, (v) => v !== value),
    (y, x0, x1) => set(y, x0, x1, UNLABELLED));
}

/**
 * The outline of a class becomes smoother: pixels go with the majority of the 5 x 5 around them.
 * @param {LabelMap} map @param {number} value @param {Valued} set
 */
export function smooth(map, value, set) {
  const { width, height } = map;
  const before = map.values.slice();
  // Only pixels at an outline can change sides.
  everyRun(width, height, (place) => touches(before, map, place, (v) => (v === value) !== (before[place] === value)),
    (y, x0, x1) => {
      for (let x = x0; x < x1; x++) {
        const counts = new Map();
        let own = 0;
        let all = 0;
        for (let v = Math.max(0, y - 2); v <= Math.min(height - 1, y + 2); v++) {
          for (let u = Math.max(0, x - 2); u <= Math.min(width - 1, x + 2); u++) {
            const found = before[v * width + u];
            all++;
            if (found === value) own++;
            else counts.set(found, (counts.get(found) ?? 0) + 1);
          }
        }
        const inside = own * 2 > all;
        if (inside && before[y * width + x] !== value) set(y, x, x + 1, value);
        if (!inside && before[y * width + x] === value) {
          const [winner] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [UNLABELLED];
          set(y, x, x + 1, winner);
        }
      }
    });
}

/**
 * @param {Uint8Array} values @param {LabelMap} map @param {number} place
 * @param {(value: number) => boolean} wanted
 */
function touches(values, map, place, wanted) {
  const { width, height } = map;
  const x = place % width;
  const y = Math.floor(place / width);
  return (
    (x > 0 && wanted(values[place - 1] ?? 0)) ||
    (x < width - 1 && wanted(values[place + 1] ?? 0)) ||
    (y > 0 && wanted(values[place - width] ?? 0)) ||
    (y < height - 1 && wanted(values[place + width] ?? 0))
  );
}

/**
 * Call back for each run of pixels that are wanted.
 * @param {number} width @param {number} height @param {(place: number) => boolean} wanted @param {Span} span
 */
export function everyRun(width, height, wanted, span) {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; ) {
      if (!wanted(y * width + x)) {
        x++;
        continue;
      }
      const x0 = x;
      while (x < width && wanted(y * width + x)) x++;
      span(y, x0, x);
    }
  }
}
