// The tools. Each gets points in pixels of the image (centres at integers) and changes labels by strokes.

import { alike } from "./api.js";
import { connected, everyRun } from "./regions.js";
import { forEachRun, UNLABELLED } from "./runs.js";
import { capsule, extend, polygon } from "./shapes.js";
import { same } from "./superpixels.js";

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./screen.js").Screen} Screen */
/** @typedef {import("./shapes.js").Point} Point */
/** A point with what the pointer says of it. @typedef {Point & {pressure?: number, shift?: boolean}} Press */

/** @typedef {{name: string, label: string, key: string, hint: string, drags?: boolean}} Described */
/** @type {Described[]} */
export const TOOLS = [
  { name: "brush", label: "Brush", key: "b", hint: "Drag to paint. [ and ] change the size.", drags: true },
  { name: "eraser", label: "Eraser", key: "e", hint: "Drag to make pixels unlabelled.", drags: true },
  { name: "polygon", label: "Polygon", key: "p", hint: "Click corners; double-click, or click the first, to close." },
  { name: "lasso", label: "Lasso", key: "l", hint: "Draw around a region; it closes when you let go.", drags: true },
  { name: "fill", label: "Fill by colour", key: "f", hint: "Click a place: what looks like it is filled. Shift: everywhere." },
  { name: "bucket", label: "Fill a region", key: "g", hint: "Click a region of one label, or an unlabelled one, to fill it." },
  { name: "superpixel", label: "Superpixels", key: "s", hint: "Click or drag over superpixels to paint them.", drags: true },
  { name: "pick", label: "Pick a class", key: "i", hint: "Click a pixel to go on with its class." },
  { name: "accept", label: "Accept suggestions", key: "a", hint: "Drag over suggestions to take them over. Shift-click: a region.", drags: true },
];

export class Tools {
  /** @param {Editor} editor @param {Screen} screen @param {(text: string) => void} say */
  constructor(editor, screen, say) {
    this.editor = editor;
    this.screen = screen;
    this.say = say;
    /** @type {Press | null} */
    this.last = null;
    /** @type {Press | null} */
    this.hover = null;
    /** @type {Point[]} */
    this.path = [];
    /** @type {import("./superpixels.js").Region | null} */
    this.region = null;
    this.pressed = false;
  }

  get name() {
    return this.editor.settings.tool;
  }

  /** The brush's radius, in pixels of the image. @param {Press} at */
  radius(at) {
    const { size, pressure } = this.editor.settings;
    return (size / 2) * (pressure && at.pressure !== undefined ? 0.25 + 0.75 * at.pressure : 1);
  }

  /** @param {Press} at */
  down(at) {
    const { editor } = this;
    if (!editor.ready) return;
    this.pressed = true;
    this.last = at;
    switch (this.name) {
      case "brush": case "eraser": case "superpixel":
        editor.begin({ erasing: this.name === "eraser" });
        return this.draw(at, at);
      case "accept":
        if (!editor.suggestion) return this.say("No model makes suggestions here. Start the page with --run RUN.");
        if (at.shift) return this.acceptRegion(at);
        editor.begin();
        return this.draw(at, at);
      case "lasso":
        this.path = [at];
        return;
      case "polygon":
        return this.corner(at);
      case "pick":
        return this.pick(at);
      case "bucket":
        return this.fillRegion(at);
      case "fill":
        return void this.fillAlike(at);
    }
  }

  /** @param {Press} at */
  move(at) {
    this.hover = at;
    if (this.pressed && this.last) {
      if (this.name === "lasso") extend(this.path, at);
      else if (this.editor.stroke) this.draw(this.last, at);
    }
    if (this.pressed) this.last = at;
    if (this.name === "superpixel") {
      const region = this.editor.regions?.at(at.x, at.y) ?? null;
      if (!same(region, this.region)) this.region = region;
    }
    this.screen.redraw("cursor");
  }

  up() {
    if (!this.pressed) return;
    this.pressed = false;
    if (this.name === "lasso") {
      const { path } = this;
      this.path = [];
      this.fillPolygon(path);
    } else this.editor.finish(this.name === "accept" ? "model" : "human");
    this.screen.redraw("cursor");
  }

  cancel() {
    this.pressed = false;
    this.path = [];
    this.editor.cancel();
    this.screen.redraw("cursor");
  }

  /** @param {Press} from @param {Press} to */
  draw(from, to) {
    const { editor, screen } = this;
    const { stroke, settings, map, suggestion } = editor;
    if (!stroke) return;
    let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
    /** @param {number} y @param {number} x0 @param {number} x1 @param {number} value */
    const set = (y, x0, x1, value) => {
      stroke.span(y, x0, x1, value);
      left = Math.min(left, x0);
      top = Math.min(top, y);
      right = Math.max(right, x1);
      bottom = Math.max(bottom, y + 1);
    };
    const value = this.name === "eraser" ? UNLABELLED : settings.value;
    if (this.name === "superpixel") {
      const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
      /** @type {import("./superpixels.js").Region | null} */
      let before = null;
      for (let i = 0; i <= steps; i++) {
        const x = Math.round(from.x + ((to.x - from.x) * i) / steps);
        const y = Math.round(from.y + ((to.y - from.y) * i) / steps);
        const region = editor.regions?.at(x, y) ?? null;
        if (region && !same(region, before)) editor.regions?.rows(region, (row, x0, x1) => set(row, x0, x1, value));
        before = region;
      }
    } else if (this.name === "accept") {
      capsule(from, to, this.radius(to), (y, x0, x1) => {
        if (y < 0 || y >= map.height || !suggestion) return;
        for (let x = Math.max(0, x0); x < Math.min(x1, map.width); x++) {
          const proposed = suggestion[y * map.width + x] ?? UNLABELLED;
          if (proposed !== UNLABELLED) set(y, x, x + 1, proposed);
        }
      });
    } else capsule(from, to, this.radius(to), (y, x0, x1) => set(y, x0, x1, value));
    if (bottom >= 0) screen.changed(left, top, right, bottom);
  }

  /** @param {Press} at */
  corner(at) {
    const { path, editor } = this;
    const first = path[0];
    const last = path[path.length - 1];
    const near = (/** @type {Point} */ a) => Math.hypot(a.x - at.x, a.y - at.y) * editor.view.scale < 10 * this.screen.ratio;
    if (path.length > 2 && ((first && near(first)) || (last && last.x === at.x && last.y === at.y))) return this.close();
    extend(path, at);
    this.screen.redraw("cursor");
  }

  /** Close the polygon. */
  close() {
    const { path } = this;
    this.path = [];
    this.fillPolygon(path);
    this.screen.redraw("cursor");
  }

  /** @param {Point[]} path */
  fillPolygon(path) {
    const { value } = this.editor.settings;
    this.editor.change((stroke) => polygon(path, (y, x0, x1) => stroke.span(y, x0, x1, value)));
  }

  /** @param {Press} at */
  pick(at) {
    const value = this.editor.map.at(at.x, at.y);
    if (value === UNLABELLED) return this.say("This pixel is unlabelled.");
    this.editor.settings.value = value;
    this.editor.tell("chosen");
  }

  /** @param {Press} at */
  fillRegion(at) {
    const { map, settings } = this.editor;
    const { width, height } = map;
    if (at.x < 0 || at.y < 0 || at.x >= width || at.y >= height) return;
    const old = map.at(at.x, at.y);
    const before = map.values;
    /** @type {[number, number, number][]} */
    const rows = [];
    connected(width, height, (place) => before[place] === old, at.x, at.y, (y, x0, x1) => rows.push([y, x0, x1]));
    this.editor.change((stroke) => rows.forEach(([y, x0, x1]) => stroke.span(y, x0, x1, settings.value)));
  }

  /** @param {Press} at */
  async fillAlike(at) {
    const { editor } = this;
    const { image, settings, opening } = editor;
    if (!image || at.x < 0 || at.y < 0 || at.x >= image.width || at.y >= image.height) return;
    const { value, tolerance } = settings;
    try {
      const { box, runs } = await alike(image, { row: at.y, column: at.x, tolerance, connected: !at.shift });
      if (opening !== editor.opening) return;
      editor.change((stroke) => forEachRun(runs, (start, end, inside) => {
        if (!inside) return;
        const [top, left, , width] = box;
        for (let place = start; place < end; ) {
          const row = Math.floor(place / width);
          const stop = Math.min(end, (row + 1) * width);
          stroke.span(top + row, left + place - row * width, left + stop - row * width, value);
          place = stop;
        }
      }));
    } catch (error) {
      this.say(/** @type {Error} */ (error).message);
    }
  }

  /** Take over what is proposed and connected to a pixel. @param {Press} at */
  acceptRegion(at) {
    const { map, suggestion } = this.editor;
    const { width, height } = map;
    if (!suggestion || at.x < 0 || at.y < 0 || at.x >= width || at.y >= height) return;
    const value = suggestion[at.y * width + at.x] ?? UNLABELLED;
    if (value === UNLABELLED) return;
    this.pressed = false;
    this.editor.change((stroke) => {
      connected(width, height, (place) => suggestion[place] === value, at.x, at.y, (y, x0, x1) => stroke.span(y, x0, x1, value));
    }, "model");
  }

  /** Take over everything that is proposed where nothing is labelled, or of one class. @param {number | null} value */
  acceptAll(value = null) {
    const { map, suggestion } = this.editor;
    if (!suggestion) return;
    const old = map.values;
    this.editor.change((stroke) => {
      const wanted = (/** @type {number} */ place) => {
        const proposed = suggestion[place];
        return old[place] === UNLABELLED && proposed !== UNLABELLED && (value === null || proposed === value);
      };
      everyRun(map.width, map.height, wanted, (y, x0, x1) => {
        for (let x = x0; x < x1; x++) stroke.span(y, x, x + 1, suggestion[y * map.width + x] ?? UNLABELLED);
      });
    }, "model");
  }
}
