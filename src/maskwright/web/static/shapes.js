// Shapes as rows of pixels: a pixel belongs to a shape if its centre does. Coordinates are of pixel centres at integers.

/** Takes a row: y, first x, x after the last. @typedef {(y: number, x0: number, x1: number) => void} Span */
/** @typedef {{x: number, y: number}} Point */

/**
 * What a round brush of a radius covers between two points: every pixel within the radius of the segment.
 * @param {Point} from @param {Point} to @param {number} radius @param {Span} span
 */
export function capsule(from, to, radius, span) {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const length = Math.hypot(dx, dy);
  // The sides of the segment's band: the segment, moved by the radius to either side.
  const nx = length ? (-dy / length) * radius : 0;
  const ny = length ? (dx / length) * radius : 0;
  const top = Math.ceil(Math.min(from.y, to.y) - radius);
  const bottom = Math.floor(Math.max(from.y, to.y) + radius);
  for (let y = top; y <= bottom; y++) {
    let low = Infinity;
    let high = -Infinity;
    for (const end of [from, to]) {
      const square = radius * radius - (y - end.y) ** 2;
      if (square < 0) continue;
      const half = Math.sqrt(square);
      low = Math.min(low, end.x - half);
      high = Math.max(high, end.x + half);
    }
    for (const side of length ? [1, -1] : []) {
      const y0 = from.y + side * ny;
      if (dy === 0) continue; // a flat side lies between the ends' discs
      const t = (y - y0) / dy;
      if (t < 0 || t > 1) continue;
      const x = from.x + side * nx + t * dx;
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    if (dy === 0 && Math.abs(y - from.y) <= radius) {
      low = Math.min(low, from.x, to.x);
      high = Math.max(high, from.x, to.x);
    }
    const x0 = Math.ceil(low - 1e-9);
    const x1 = Math.floor(high + 1e-9) + 1;
    if (x0 < x1) span(y, x0, x1);
  }
}

/**
 * The inside of a closed polygon, by the even-odd rule.
 * @param {Point[]} points @param {Span} span
 */
export function polygon(points, span) {
  if (points.length < 3) return;
  const top = Math.ceil(Math.min(...points.map((p) => p.y)));
  const bottom = Math.floor(Math.max(...points.map((p) => p.y)));
  for (let y = top; y <= bottom; y++) {
    /** @type {number[]} */
    const crossings = [];
    points.forEach((a, i) => {
      const b = /** @type {Point} */ (points[(i + 1) % points.length]);
      if (a.y <= y === b.y <= y) return;
      // From the upper end, whichever way it is drawn: two polygons that share an edge round alike.
      const [upper, lower] = a.y < b.y ? [a, b] : [b, a];
      crossings.push(upper.x + ((y - upper.y) / (lower.y - upper.y)) * (lower.x - upper.x));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const x0 = Math.ceil(/** @type {number} */ (crossings[i]));
      const x1 = Math.ceil(/** @type {number} */ (crossings[i + 1]));
      if (x0 < x1) span(y, x0, x1);
    }
  }
}

/**
 * A hand-drawn line without the points that add nothing.
 * @param {Point[]} points @param {Point} next
 */
export function extend(points, next) {
  const last = points[points.length - 1];
  if (!last || last.x !== next.x || last.y !== next.y) points.push(next);
}
