// Runs: how labels travel (the server's `label/patches.py`). Six bytes each, little-endian: a uint32 length and a uint16
// value, along the rows of a box.

/** A rectangle of pixels: top, left, height, width. @typedef {[number, number, number, number]} Box */

/** In runs: these pixels are not touched. */
export const KEEP = 0xffff;
/** The value of a pixel without a label. */
export const UNLABELLED = 255;

/**
 * Runs of values, as bytes; `decode` gives the values back.
 * @param {Uint16Array | Uint8Array} cells
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encode(cells) {
  let count = 0;
  for (let i = 0; i < cells.length; i++) if (i === 0 || cells[i] !== cells[i - 1]) count++;
  const bytes = new Uint8Array(count * 6);
  const view = new DataView(bytes.buffer);
  for (let start = 0, at = 0; start < cells.length; at += 6) {
    let end = start + 1;
    while (end < cells.length && cells[end] === cells[start]) end++;
    view.setUint32(at, end - start, true);
    view.setUint16(at + 4, cells[start] ?? 0, true);
    start = end;
  }
  return bytes;
}

/**
 * Call back for each run: first place, place after the last, value.
 * @param {Uint8Array} bytes
 * @param {(start: number, end: number, value: number) => void} each
 */
export function forEachRun(bytes, each) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let start = 0;
  for (let at = 0; at + 6 <= bytes.length; at += 6) {
    const end = start + view.getUint32(at, true);
    each(start, end, view.getUint16(at + 4, true));
    start = end;
  }
}

/**
 * The values of runs, of which there are `length`.
 * @param {Uint8Array} bytes
 * @param {number} length
 */
export function decode(bytes, length) {
  const values = new Uint8Array(length);
  forEachRun(bytes, (start, end, value) => values.fill(value, start, Math.min(end, length)));
  return values;
}

/**
 * Write the runs of a box into a map; KEEP leaves pixels as they are.
 * @param {Uint8Array} map
 * @param {number} width of the map
 * @param {Box} box
 * @param {Uint8Array} bytes
 */
export function applyRuns(map, width, [top, left, , boxWidth], bytes) {
  forEachRun(bytes, (start, end, value) => {
    if (value === KEEP) return;
    for (let at = start; at < end; ) {
      const row = Math.floor(at / boxWidth);
      const stop = Math.min(end, (row + 1) * boxWidth);
      const place = (top + row) * width + left - row * boxWidth;
      map.fill(value, place + at, place + stop);
      at = stop;
    }
  });
}
