// The open image: its pixels, its labels, and every change of them on its way to the server.

import * as api from "./api.js";
import { allowedValues, History, LabelMap, Stroke } from "./labels.js";
import { sendToServer } from "./outbox.js";
import { Superpixels } from "./superpixels.js";
import { Tiles } from "./tiles.js";
import { View } from "./view.js";

/** @typedef {import("./api.js").ImageState} ImageState */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./runs.js").Box} Box */
/** What the person has chosen. */
export class Settings {
  tool = "brush";
  value = 0;
  size = 24; // of the brush, across
  tolerance = 0.1;
  area = 200; // of superpixels
  specks = 50;
  opacity = 0.5;
  suggested = 0.55;
  image = true;
  labels = true;
  suggestions = true;
  outlines = true;
  onlyUnlabelled = false;
  pressure = true;
  /** @type {number | null} */
  alone = null;
  /** @type {number[]} */
  locked = [];

  /** @param {string} name */
  constructor(name) {
    this.name = name;
    try {
      Object.assign(this, JSON.parse(localStorage.getItem(name) ?? "{}"));
    } catch {
      localStorage.removeItem(name);
    }
  }

  save() {
    localStorage.setItem(this.name, JSON.stringify(this));
  }
}

const LONGEST_PAUSE = 60; // seconds without a change that count as work

/** Events: "opened", "changed" (detail: the box, or null for all), "drawn" (pixels of the image), "saving". */
export class Editor extends EventTarget {
  /** @param {Settings} settings @param {string} tab */
  constructor(settings, tab) {
    super();
    this.settings = settings;
    this.tab = tab;
    /** @type {Outbox | null} */
    this.outbox = null;
    /** @type {api.ImageFacts | null} */
    this.image = null;
    this.map = new LabelMap(1, 1);
    this.view = new View({ width: 1, height: 1 }, { width: 1, height: 1 });
    /** @type {Tiles | null} */
    this.tiles = null;
    /** @type {Superpixels | null} */
    this.superpixels = null;
    /** What a model proposes. @type {Uint8Array | null} */
    this.suggestion = null;
    this.model = ""; // its hash
    this.history = new History();
    /** @type {Stroke | null} */
    this.stroke = null;
    this.revision = 0; // of the server
    this.base = 0; // of the next change: the server's, when everything that waits has arrived
    this.opening = 0;
    this.turning = false; // an answer is awaited that says what the labels are
    this.since = performance.now();
  }

  /** @param {string} name @param {unknown} [detail] */
  tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** @param {ImageState} state @param {boolean} suggest */
  async open(state, suggest) {
    this.finish();
    const turn = ++this.opening;
    const [facts, labels] = await Promise.all([api.get(`images/${state.id}`), api.labels(state)]);
    if (turn !== this.opening) return false; // another image was asked for meanwhile
    this.tiles?.close();
    this.image = facts;
    this.tiles = new Tiles(facts, () => this.tell("drawn"));
    const { screen } = this.view;
    this.view = new View({ width: facts.width, height: facts.height }, screen);
    this.superpixels = null;
    this.suggestion = null;
    this.take(labels);
    this.since = performance.now();
    this.tell("opened");
    if (suggest) void this.suggest(state, turn);
    return true;
  }

  /** Labels of the server, and on them what has not reached it. @param {{values: Uint8Array, revision: number}} labels */
  take({ values, revision }) {
    const image = /** @type {api.ImageFacts} */ (this.image);
    this.map = new LabelMap(image.width, image.height, values);
    this.revision = this.base = revision;
    this.history = new History();
    for (const op of this.outbox?.of(image.id) ?? []) {
      this.map.apply(op.box, op.runs);
      if (op.base >= revision) this.base = op.base + 1;
    }
  }

  /** Read the labels again, as the server has them. */
  async refresh() {
    if (!this.image) return;
    this.stroke?.cancel();
    this.stroke = null;
    const turn = this.opening;
    const labels = await api.labels(this.image);
    if (turn !== this.opening) return;
    this.take(labels);
    this.tell("changed");
  }

  /** @param {ImageState} state @param {number} turn */
  async suggest(state, turn = this.opening) {
    try {
      const found = await api.suggestion(state);
      if (turn !== this.opening) return;
      this.suggestion = found.values;
      this.model = found.model;
      this.tell("changed");
    } catch (error) {
      if (turn === this.opening) this.tell("told", /** @type {Error} */ (error).message);
    }
  }

  /** The superpixels, made with the size that is set. */
  get regions() {
    const { image, settings } = this;
    if (image && this.superpixels?.area !== settings.area) {
      this.superpixels = new Superpixels(image, settings.area, () => this.tell("regions"));
    }
    return this.superpixels;
  }

  /** Whether the labels may be changed. */
  get ready() {
    return this.image !== null && !this.turning && !this.outbox?.conflicts.has(this.image.id);
  }

  /** @param {{erasing?: boolean}} [how] */
  begin({ erasing = false } = {}) {
    const { locked, onlyUnlabelled } = this.settings;
    this.finish();
    this.stroke = new Stroke(this.map, allowedValues(locked, onlyUnlabelled && !erasing));
    return this.stroke;
  }

  /** End the stroke, and send it. @param {"human" | "model"} [origin] */
  finish(origin = "human") {
    const { stroke, image } = this;
    this.stroke = null;
    const change = stroke?.change();
    if (!change || !image) return;
    this.history.add(change);
    this.send("patch", change.box, change.after, origin);
    this.tell("changed", change.box);
  }

  cancel() {
    this.stroke?.cancel();
    this.stroke = null;
    this.tell("changed");
  }

  /** One change at once. @param {(stroke: Stroke) => void} what @param {"human" | "model"} [origin] */
  change(what, origin = "human") {
    if (!this.ready) return;
    what(this.begin());
    this.finish(origin);
  }

  /** @param {"patch" | "undo" | "redo"} kind @param {Box} box @param {Uint8Array<ArrayBuffer>} runs @param {"human" | "model"} origin */
  send(kind, box, runs, origin = "human") {
    const image = /** @type {api.ImageFacts} */ (this.image);
    const now = performance.now();
    const seconds = Math.min(LONGEST_PAUSE, (now - this.since) / 1000);
    this.since = now;
    const key = randomKey();
    void this.outbox?.add({ tab: this.tab, image: image.id, kind, base: this.base++, key, seconds, model: origin === "model" ? this.model : null, box, runs });
  }

  /** @param {"undo" | "redo"} kind */
  async turn(kind) {
    if (!this.image || !this.ready) return;
    this.finish();
    const change = this.history[kind]();
    if (change) {
      const runs = kind === "undo" ? change.before : change.after;
      this.map.apply(change.box, runs);
      this.send(kind, change.box, runs);
      this.tell("changed", change.box);
      return;
    }
    if (this.outbox?.of(this.image.id).length) return;
    this.turning = true;
    try {
      await this.turnOnServer(kind, this.image, this.opening);
    } finally {
      this.turning = false;
    }
  }

  /** What is older than this session is known to the server alone.
   * @param {"undo" | "redo"} kind @param {api.ImageFacts} image @param {number} turn */
  async turnOnServer(kind, image, turn) {
    const op = { tab: this.tab, image: image.id, kind, base: this.base, key: randomKey(), seconds: 0 };
    const done = await sendToServer({ ...op, model: null, box: [0, 0, 0, 0], runs: new Uint8Array() });
    if (turn !== this.opening) return;
    if (!done.box) return this.tell("told", `There is nothing to ${kind}.`);
    const runs = await api.labelsOf(image, done.box);
    if (turn !== this.opening) return;
    this.map.apply(done.box, runs);
    this.history.undone = [];
    this.revision = this.base = done.revision;
    this.tell("changed", done.box);
    this.tell("saving");
  }
}

const randomKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
