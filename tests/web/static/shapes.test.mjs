// Shapes and regions against every single pixel, by definition.

import assert from "node:assert/strict";
import { test } from "node:test";
import { allowedValues, History, LabelMap, Stroke } from "../../../src/maskwright/web/static/labels.js";
import { connected, fillHoles, grow, removeSpecks, shrink, smooth } from "../../../src/maskwright/web/static/regions.js";
import { capsule, polygon } from "../../../src/maskwright/web/static/shapes.js";

const random = (seed) => () => ((seed = (seed * 1664525 + 1013904223) >>> 0) / 2 ** 32);

/** A map drawn as text: digits are classes, a dot is unlabelled. */
export const drawn = (...rows) => new LabelMap(rows[0].length, rows.length, Uint8Array.from(rows.join(""), (c) => (c === "." ? 255 : Number(c))));
const text = (map) => Array.from({ length: map.height }, (_, y) => Array.from(map.values.subarray(y * map.width, (y + 1) * map.width), (v) => (v === 255 ? "." : v)).join(""));
const done = (map, what, allowed = allowedValues([], false)) => {
  const stroke = new Stroke(map, allowed);
  what((y, x0, x1, value) => stroke.span(y, x0, x1, value));
  return text(map);
};

test("a capsule is every pixel within the radius of the segment, once", () => {
  const draw = random(1);
  for (let i = 0; i < 300; i++) {
    const whole = () => Math.floor(draw() * 40);
    const [a, b, r] = [{ x: whole(), y: whole() }, { x: whole(), y: whole() }, Math.floor(draw() * 20) / 2 + 0.5];
    const seen = new Map();
    capsule(a, b, r, (y, x0, x1) => {
      for (let x = x0; x < x1; x++) seen.set(`${x} ${y}`, (seen.get(`${x} ${y}`) ?? 0) + 1);
    });
    assert.ok([...seen.values()].every((times) => times === 1));
    for (let y = -12; y < 55; y++) {
      for (let x = -12; x < 55; x++) {
        const square = (b.x - a.x) ** 2 + (b.y - a.y) ** 2;
        const t = square ? Math.min(1, Math.max(0, ((x - a.x) * (b.x - a.x) + (y - a.y) * (b.y - a.y)) / square)) : 0;
        const distance = Math.hypot(x - a.x - t * (b.x - a.x), y - a.y - t * (b.y - a.y));
        if (Math.abs(distance - r) > 1e-6) assert.equal(seen.has(`${x} ${y}`), distance < r, `${JSON.stringify([a, b, r])} at ${x}, ${y}`);
      }
    }
  }
});

test("the smallest brush leaves no gap", () => {
  const map = new LabelMap(20, 20);
  const stroke = new Stroke(map, allowedValues([], false));
  capsule({ x: 1, y: 1 }, { x: 17, y: 9 }, 0.5, (y, x0, x1) => stroke.span(y, x0, x1, 1));
  for (let x = 1; x <= 17; x++) assert.ok(Array.from({ length: 20 }, (_, y) => map.at(x, y)).includes(1));
});

test("a polygon is what lies inside by the even-odd rule", () => {
  const map = drawn("......", "......", "......", "......");
  assert.deepEqual(done(map, (set) => polygon([{ x: 1, y: 0 }, { x: 4, y: 0 }, { x: 4, y: 3 }, { x: 1, y: 3 }], (y, x0, x1) => set(y, x0, x1, 2))),
    [".222..", ".222..", ".222..", "......"]);
});

test("triangles around any point cover a square once: shared edges neither overlap nor leave a gap", () => {
  const draw = random(7);
  const corners = [{ x: -1, y: -1 }, { x: 31, y: -1 }, { x: 31, y: 31 }, { x: -1, y: 31 }];
  for (let i = 0; i < 100; i++) {
    const middle = { x: Math.floor(draw() * 30), y: Math.floor(draw() * 30) };
    const times = new Uint8Array(900);
    for (let k = 0; k < 4; k++) {
      polygon([corners[k], corners[(k + 1) % 4], middle], (y, x0, x1) => {
        for (let x = Math.max(0, x0); x < Math.min(30, x1); x++) if (y >= 0 && y < 30) times[y * 30 + x]++;
      });
    }
    assert.ok(times.every((n) => n === 1));
  }
});

test("only what is connected by edges is filled", () => {
  const map = drawn("..1..", ".1.1.", "1...1", ".1.1.", "..1..");
  const seen = [];
  connected(5, 5, (place) => map.values[place] === 255, 2, 2, (y, x0, x1) => seen.push([y, x0, x1]));
  assert.deepEqual(seen.sort(), [[1, 2, 3], [2, 1, 4], [3, 2, 3]]);
});

test("holes are filled and bays are not", () => {
  assert.deepEqual(done(drawn("11111", "1.121", "11111", "1.1..", "111.."), (set) => fillHoles(drawn("11111", "1.121", "11111", "1.1..", "111.."), 1, set)),
    ["11111", "11111", "11111", "111..", "111.."]);
});

test("specks become what they touch most", () => {
  const map = drawn("22222", "21222", "22211", "..211", ".1.11");
  assert.deepEqual(done(map, (set) => removeSpecks(map, 1, 3, set)), ["22222", "22222", "22211", "..211", "...11"]);
});

test("growing and shrinking go by one pixel, and locks hold", () => {
  const map = drawn(".....", "..1..", "..2..");
  assert.deepEqual(done(map, (set) => grow(map, 1, set), allowedValues([2], false)), ["..1..", ".111.", "..2.."]);
  assert.deepEqual(done(map, (set) => shrink(map, 1, set)), [".....", ".....", "..2.."]);
});

test("smoothing takes off spikes and keeps straight edges", () => {
  const map = drawn("222222", "222222", "221222", "111111", "111111", "111111");
  assert.deepEqual(done(map, (set) => smooth(map, 1, set)), ["222222", "222222", "222222", "111111", "111111", "111111"]);
});

test("a stroke knows what it changed, and can be put back", () => {
  const draw = random(3);
  const map = new LabelMap(300, 200, Uint8Array.from({ length: 60000 }, () => Math.floor(draw() * 3)));
  const before = map.values.slice();
  const stroke = new Stroke(map, allowedValues([2], false));
  for (let i = 0; i < 40; i++) {
    const [x, y] = [Math.floor(draw() * 320) - 10, Math.floor(draw() * 220) - 10];
    stroke.span(y, x, x + Math.floor(draw() * 60), Math.floor(draw() * 4));
  }
  const after = map.values.slice();
  assert.ok(before.every((value, place) => value !== 2 || after[place] === 2));
  const change = stroke.change();
  map.apply(change.box, change.before);
  assert.deepEqual(map.values, before);
  map.apply(change.box, change.after);
  assert.deepEqual(map.values, after);
  stroke.cancel();
  assert.deepEqual(map.values, before);
});

test("pixels are counted by class", () => {
  assert.deepEqual(drawn("012.", "22..").counts(), { 0: 1, 1: 1, 2: 3 });
});

test("a stroke that changes nothing is none", () => {
  const map = drawn("11", "11");
  const stroke = new Stroke(map, allowedValues([], false));
  stroke.span(0, 0, 2, 1);
  stroke.span(5, 0, 2, 0);
  assert.equal(stroke.change(), null);
});

test("only unlabelled pixels are painted when that is asked for", () => {
  assert.deepEqual(done(drawn(".12."), (set) => set(0, 0, 4, 0), allowedValues([], true)), ["0120"]);
});

test("the history of a session is bounded, in strokes and bytes", () => {
  const history = new History(1000);
  const one = { box: [0, 0, 1, 1], before: new Uint8Array(100), after: new Uint8Array(100) };
  for (let i = 0; i < 50; i++) history.add({ ...one });
  assert.equal(history.done.length, 5);
  assert.ok(history.undo() && history.redo() && history.undo());
  history.add(one);
  assert.equal(history.redo(), null);
});
