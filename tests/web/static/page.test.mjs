// Runs, the view, the palette and the outbox.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Refused } from "../../../src/maskwright/web/static/api.js";
import { actionsOf, nameOf } from "../../../src/maskwright/web/static/keys.js";
import { Outbox } from "../../../src/maskwright/web/static/outbox.js";
import { covering, paint, paletteOf } from "../../../src/maskwright/web/static/overlay.js";
import { applyRuns, decode, encode, KEEP } from "../../../src/maskwright/web/static/runs.js";
import { View } from "../../../src/maskwright/web/static/view.js";

test("runs are six bytes each, as the server writes them", () => {
  const bytes = encode(Uint16Array.of(7, 7, 7, KEEP, 255));
  assert.deepEqual([...bytes], [3, 0, 0, 0, 7, 0, 1, 0, 0, 0, 255, 255, 1, 0, 0, 0, 255, 0]);
  assert.deepEqual([...decode(encode(Uint8Array.of(1, 1, 2)), 3)], [1, 1, 2]);
});

test("runs go over the ends of rows, and leave what they keep", () => {
  const map = new Uint8Array(12);
  applyRuns(map, 4, [1, 1, 2, 2], encode(Uint16Array.of(5, 5, KEEP, 6)));
  assert.deepEqual([...map], [0, 0, 0, 0, 0, 5, 5, 0, 0, 0, 6, 0]);
});

test("what is under the cursor stays there when zooming", () => {
  const view = new View({ width: 100, height: 80 }, { width: 500, height: 300 });
  view.zoom(8, 250, 150);
  const before = view.toImage(200, 170);
  view.zoom(1.5, 200, 170);
  const after = view.toImage(200, 170);
  assert.ok(Math.hypot(before.x - after.x, before.y - after.y) < 1e-9);
});

test("a fitted image is seen whole, also after the window changes", () => {
  const view = new View({ width: 12000, height: 9000 }, { width: 900, height: 700 });
  for (const screen of [{ width: 900, height: 700 }, { width: 300, height: 1000 }]) {
    view.resize(screen);
    const [a, b] = [view.toScreen(0, 0), view.toScreen(12000, 9000)];
    assert.ok(a.x >= 0 && a.y >= 0 && b.x <= screen.width && b.y <= screen.height);
  }
});

test("labels are drawn through the palette at the screen's resolution", () => {
  const view = new View({ width: 2, height: 1 }, { width: 8, height: 4 });
  Object.assign(view, { scale: 4, x: 0, y: 0 });
  const palette = paletteOf([{ value: 1, color: "#102030" }], 0.5, { outlines: false });
  assert.equal(palette.fill[1] >>> 0, 0x80302010);
  const out = new Int32Array(32);
  paint(out, { x0: 0, y0: 0, x1: 8, y1: 4 }, view, { values: Uint8Array.of(1, 255), width: 2, height: 1, palette });
  for (let y = 0; y < 4; y++) assert.deepEqual([...out.subarray(y * 8, y * 8 + 4)].map((v) => v >>> 0), Array(4).fill(0x80302010));
  assert.ok([...out].filter((_, i) => i % 8 > 4).every((v) => v === 0));
});

test("a part of the screen is painted as the whole is", () => {
  const values = Uint8Array.from({ length: 900 }, (_, i) => [0, 1, 255][(i * 7 + (i >> 4)) % 3]);
  const palette = paletteOf([{ value: 0, color: "#ff0000" }, { value: 1, color: "#00ff00" }], 0.4);
  for (const scale of [0.37, 1, 3.3]) {
    const view = new View({ width: 30, height: 30 }, { width: 60, height: 50 });
    Object.assign(view, { scale, x: -3.3, y: 2.2 });
    const whole = new Int32Array(3000);
    const layer = { values, width: 30, height: 30, palette };
    paint(whole, { x0: 0, y0: 0, x1: 60, y1: 50 }, view, layer);
    const part = { x0: 13, y0: 7, x1: 41, y1: 33 };
    const out = new Int32Array(28 * 26);
    paint(out, part, view, layer);
    for (let y = 0; y < 26; y++) assert.deepEqual(out.subarray(y * 28, y * 28 + 28), whole.subarray((y + 7) * 60 + 13, (y + 7) * 60 + 41));
  }
});

test("a changed box covers its part of the screen and no more than it has", () => {
  const view = new View({ width: 100, height: 100 }, { width: 200, height: 200 });
  Object.assign(view, { scale: 2, x: 0, y: 0 });
  assert.deepEqual(covering(view, 10, 20, 11, 21), { x0: 18, y0: 38, x1: 24, y1: 44 });
  assert.equal(covering(view, 150, 150, 160, 160), null);
});

test("one class is shown alone", () => {
  const { fill } = paletteOf([{ value: 0, color: "#ffffff" }, { value: 1, color: "#ffffff" }], 1, { alone: 1 });
  assert.equal(fill[0], 0);
  assert.notEqual(fill[1], 0);
});

const memory = () => {
  const kept = new Map();
  let number = 0;
  return {
    kept,
    all: async () => [...kept.values()],
    add: async (op) => (kept.set(++number, { ...op, number }), number),
    put: async (op) => void kept.set(op.number, { ...op }),
    remove: async (one) => void kept.delete(one),
  };
};
const op = (base, kind = "patch") => ({ tab: "t", image: 1, kind, base, key: `k${base}`, seconds: 1, model: null, box: [0, 0, 1, 1], runs: new Uint8Array() });
const told = () => {
  const heard = [];
  return { heard, acknowledged: (one, revision) => heard.push(revision), refused: (one, error) => heard.push(error.status), changed: () => {} };
};

test("changes are sent in order, and kept until they are acknowledged", async () => {
  const store = memory();
  const sent = [];
  let online = false;
  const outbox = new Outbox(store, async (one) => {
    if (!online) throw new Refused(0, "");
    sent.push(one.base);
    return { revision: one.base + 1 };
  }, told());
  await outbox.add(op(0));
  await outbox.add(op(1));
  assert.equal(outbox.online, false);
  assert.equal(store.kept.size, 2);
  online = true;
  const later = new Outbox(store, outbox.send, told());
  await later.load();
  while (later.busy) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual(sent.slice(0, 2), [0, 1]);
  assert.equal(store.kept.size, 0);
  outbox.waiting = [];
});

test("a conflict stops an image's changes until it is settled, and nothing is lost", async () => {
  const store = memory();
  let current = 5;
  const notes = told();
  const outbox = new Outbox(store, async (one) => {
    if (one.base !== current) throw new Refused(409, "stale");
    return { revision: ++current };
  }, notes);
  await outbox.add(op(3));
  await outbox.add(op(4, "undo"));
  assert.deepEqual([...outbox.conflicts], [1]);
  assert.equal(store.kept.size, 2);
  await outbox.repeat(1, 5);
  assert.equal(store.kept.size, 0);
  assert.equal(current, 7);
  assert.deepEqual(notes.heard, [409, 6, 7]);
});

test("keys have the names that the table gives them", () => {
  const actions = actionsOf([{ keys: "1–9", what: "", group: "", run: () => {} }, { keys: "Ctrl+Shift+z, Ctrl+y", what: "", group: "", run: () => {} }]);
  assert.equal(actions.size, 11);
  const press = (key, held = {}) => nameOf({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...held });
  assert.ok(actions.has(press("Z", { ctrlKey: true, shiftKey: true })));
  assert.ok(actions.has(press("y", { metaKey: true })));
  assert.equal(press("?", { shiftKey: true }), "?");
});
