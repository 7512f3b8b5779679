// The labelling page: puts the parts together, and keeps them in step with the server.

import { get, Refused } from "./api.js";
import { drawCursor, drawMinimap } from "./cursor.js";
import { byId, fill, h, question } from "./dom.js";
import { Editor, Settings } from "./editor.js";
import { icon } from "./icons.js";
import { actionsOf, isTyping, nameOf, signsOf } from "./keys.js";
import { notice, say } from "./notices.js";
import { browserStore, Outbox, sendToServer } from "./outbox.js";
import { classesPanel, layersPanel, tonesPanel, toolPanel } from "./panels.js";
import { Pointer } from "./pointer.js";
import { Screen } from "./screen.js";
import { keysOf } from "./shortcuts.js";
import { setStatus, tellStatus } from "./status.js";
import { Strip } from "./strip.js";
import { TOOLS, Tools } from "./tools.js";
import { Trainer } from "./trainer.js";

/** @typedef {import("./api.js").ImageState} ImageState */
/** @typedef {import("./api.js").LabelClass} LabelClass */

const POLL = 1500; // milliseconds

export class App {
  /** @param {import("./api.js").Project} project @param {string} tab @param {import("./outbox.js").Store} store */
  constructor(project, tab, store) {
    this.project = project;
    this.tab = tab;
    this.classes = project.classes;
    /** @type {Record<string, Record<string, number>>} */
    this.counts = {};
    this.settings = new Settings(`maskwright-${project.id}`);
    this.editor = new Editor(this.settings, tab);
    this.screen = new Screen(byId("stage"), this.editor, () => this.classes, (context, ratio) => drawCursor(context, ratio, this.editor, this.tools, this.color));
    this.tools = new Tools(this.editor, this.screen, (text) => this.say(text));
    this.pointer = new Pointer(byId("stage"), this.editor, this.screen, this.tools);
    this.strip = new Strip(byId("filters"), byId("strip"), (image) => void this.open(image), () => void this.count());
    this.outbox = new Outbox(store, sendToServer, {
      acknowledged: (op, revision) => this.acknowledged(op, revision),
      refused: (op, error) => this.refused(op, error),
      changed: () => this.tellSaved(),
    });
    this.editor.outbox = this.outbox;
    this.trainer = new Trainer(byId("training"), (text) => this.say(text, "warn"), () => this.whenSaved());
    this.keys = keysOf(this);
    this.actions = actionsOf(this.keys);
    this.told = "";
    this.tallying = 0;
    if (!this.classes.some((one) => one.value === this.settings.value)) this.settings.value = this.classes.at(-1)?.value ?? 0;
  }

  get color() {
    return this.classes.find((one) => one.value === this.settings.value)?.color ?? "#ffffff";
  }

  async start() {
    const { editor, screen, project } = this;
    byId("project").textContent = project.name;
    for (const [id, name] of [["previous", "previous"], ["next", "next"], ["undo", "undo"], ["redo", "redo"], ["fit", "fit"], ["theme", "theme"], ["help", "help"]]) fill(byId(id ?? ""), icon(name ?? ""));
    byId("previous").onclick = () => this.step(-1);
    byId("next").onclick = () => this.step(1);
    byId("undo").onclick = () => void this.turn("undo");
    byId("redo").onclick = () => void this.turn("redo");
    byId("fit").onclick = () => this.look(() => editor.view.fit());
    byId("scale").onclick = () => this.look(() => editor.view.zoom(1 / editor.view.scale, editor.view.screen.width / 2, editor.view.screen.height / 2));
    byId("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "light" ? "dark" : "light");
    byId("help").onclick = () => this.help();
    editor.addEventListener("opened", () => this.opened());
    editor.addEventListener("changed", (event) => this.changed(/** @type {CustomEvent} */ (event).detail));
    editor.addEventListener("drawn", () => screen.redraw("image"));
    editor.addEventListener("regions", () => { screen.redraw("overlay", "cursor"); this.tellBusy(); });
    editor.addEventListener("moved", () => this.moved());
    editor.addEventListener("hovered", () => this.tellPlace());
    editor.addEventListener("chosen", () => this.choose(this.settings.value));
    editor.addEventListener("saving", () => this.tellSaved());
    editor.addEventListener("told", (event) => this.say(/** @type {CustomEvent} */ (event).detail));
    document.addEventListener("keydown", (event) => this.keydown(event));
    document.addEventListener("keyup", (event) => this.keyup(event));
    window.addEventListener("blur", () => { this.pointer.hold(false); this.peek(false); });
    window.addEventListener("beforeunload", (event) => { if (this.outbox.waiting.length) event.preventDefault(); });
    await this.outbox.load();
    this.strip.show(project.images, this.classes);
    this.use(this.settings.tool);
    const last = Number(sessionStorage.getItem("image"));
    const first = project.images.find((image) => image.id === last) ?? project.images.find((image) => image.status === "open") ?? project.images[0];
    if (first) await this.open(first);
    void this.count();
    setInterval(() => void this.poll(), POLL);
  }

  /** @param {ImageState} image */
  async open(image) {
    byId("busy").hidden = false;
    byId("busy").textContent = `Opening ${image.name}`;
    this.strip.choose(image.id);
    try {
      await this.editor.open(image, this.project.suggester !== null);
    } catch (error) {
      this.say(/** @type {Error} */ (error).message, "warn");
    }
    this.tellBusy();
  }

  opened() {
    const image = /** @type {import("./api.js").ImageFacts} */ (this.editor.image);
    sessionStorage.setItem("image", String(image.id));
    fill(byId("title"), image.name, h("small", {}, `${image.width} × ${image.height}${image.channels > 3 || image.kind !== "uint8" ? `, ${image.channels} × ${image.kind}` : ""}`));
    document.title = `${image.name} – Maskwright`;
    tellStatus(this, image);
    this.tools.path = [];
    this.panels();
    this.tally();
    tonesPanel(this, byId("tones"));
    this.screen.moved();
    this.tellSaved();
    void this.poll();
    const next = this.strip.beside(1); // the server has it ready by the time that it is wanted
    if (next) setTimeout(() => void get(`images/${next.id}`).catch(() => null), 400);
  }

  /** @param {number} step */
  step(step) {
    const image = this.strip.beside(step);
    if (image) void this.open(image);
    else this.say(step > 0 ? "This is the last image." : "This is the first image.");
  }

  nextUnlabelled() {
    const image = this.strip.nextUnlabelled();
    if (image) void this.open(image);
    else this.say("Every image has labels.");
  }

  /** @param {import("./runs.js").Box | null} box */
  changed(box) {
    this.tally();
    if (box) this.screen.changed(box[1], box[0], box[1] + box[3], box[0] + box[2]);
    else {
      this.screen.redraw("overlay", "cursor");
      this.panels();
    }
  }

  moved() {
    const { view } = this.editor;
    byId("scale").textContent = `${(100 * view.scale / this.screen.ratio).toFixed(view.scale < 0.1 ? 1 : 0)} %`;
    drawMinimap(byId("minimap"), this.editor, this.screen.ratio);
    this.tellPlace();
  }

  /** @param {() => void} what */
  look(what) {
    what();
    this.screen.moved();
  }

  /** @param {string} tool */
  use(tool) {
    fill(byId("tools"), ...TOOLS.filter((one) => one.name !== "accept" || this.project.suggester).map((one) =>
      h("button", { title: `${one.label} (${one.key.toUpperCase()})`, "aria-label": one.label, role: "radio", "data-tool": one.name, onclick: () => this.use(one.name) }, icon(one.name))));
    if (this.tools.path.length) this.tools.cancel();
    if (!TOOLS.some((one) => one.name === tool) || (tool === "accept" && !this.project.suggester)) tool = "brush";
    this.settings.tool = tool;
    for (const button of byId("tools").querySelectorAll("button")) button.setAttribute("aria-checked", String(button.dataset.tool === tool));
    byId("hint").textContent = TOOLS.find((one) => one.name === tool)?.hint ?? "";
    this.set({});
  }

  /** @param {number} value */
  choose(value) {
    this.set({ value });
  }

  /** Change settings, and show it. @param {Partial<Settings>} what @param {"all" | "cursor" | "layers"} part what else is drawn */
  set(what, part = "all") {
    Object.assign(this.settings, what);
    this.settings.save();
    if (part === "all") this.panels();
    this.screen.redraw("cursor");
    if (part !== "cursor") this.screen.redraw("image", "overlay");
  }

  panels() {
    classesPanel(this, byId("classes"));
    toolPanel(this, byId("options"));
    layersPanel(this, byId("layers"));
  }

  /** @param {LabelClass[]} classes */
  setClasses(classes) {
    if (JSON.stringify(classes) === JSON.stringify(this.classes)) return;
    this.classes = classes;
    if (!classes.some((one) => one.value === this.settings.value)) this.settings.value = classes[0]?.value ?? 0;
    this.settings.locked = this.settings.locked.filter((value) => classes.some((one) => one.value === value));
    this.strip.show(this.strip.images, classes);
    this.set({});
    void this.count();
  }

  /** @param {string | null} suggester */
  suggested(suggester) {
    if (suggester === this.project.suggester) return;
    this.project.suggester = suggester;
    this.use(this.settings.tool);
    if (this.editor.image) void this.editor.suggest(this.editor.image);
    this.say(`Suggestions are now those of ${suggester}.`);
  }

  /** Pixels of each class in all images, as the server counts them. */
  async count() {
    this.counts = this.strip.counts = await get("counts").catch(() => this.counts);
    if (this.strip.filter.value !== null) this.strip.draw();
    this.tally();
  }

  /** Those of the open image, once painting pauses. */
  tally() {
    clearTimeout(this.tallying);
    this.tallying = setTimeout(() => {
      const { image, map, stroke } = this.editor;
      if (!image || stroke) return;
      this.counts[image.id] = map.counts();
      classesPanel(this, byId("classes"));
    }, 600);
  }

  /** @param {"undo" | "redo"} kind */
  async turn(kind) {
    await this.editor.turn(kind).catch((error) => this.say(error.message, "warn"));
  }

  /** @param {string} status */
  async setStatus(status) {
    await setStatus(this, status);
  }

  /** @param {import("./outbox.js").Op} op @param {number} revision */
  acknowledged(op, revision) {
    const { editor } = this;
    if (op.image !== editor.image?.id) return;
    editor.revision = revision;
    if (revision !== op.base + 1 && !this.outbox.of(op.image).length) void editor.refresh();
  }

  /** @param {import("./outbox.js").Op} op @param {Refused} error */
  refused(op, error) {
    if (error.status === 401) return this.say(error.message, "warn");
    if (error.status !== 409) {
      this.say(`Not saved: ${error.message}`, "warn");
      if (op.image === this.editor.image?.id) void this.editor.refresh();
      return;
    }
    const waiting = this.outbox.of(op.image).filter((one) => one.kind === "patch").length;
    const name = this.project.images.find((image) => image.id === op.image)?.name ?? "";
    const shown = notice("warn", `${name} was changed elsewhere, and ${waiting} stroke${waiting === 1 ? "" : "s"} of yours ${waiting === 1 ? "is" : "are"} not saved. Nothing was overwritten.`,
      h("button", { className: "primary", onclick: () => { shown.remove(); void this.resolve(op.image, true); } }, "Put mine on top"),
      h("button", { onclick: () => { shown.remove(); void this.resolve(op.image, false); } }, "Discard mine"));
    this.editor.tell("changed");
  }

  /** @param {number} image @param {boolean} keep */
  async resolve(image, keep) {
    const { editor, outbox } = this;
    if (!keep) await outbox.discard(image);
    const open = image === editor.image?.id;
    if (open) await editor.refresh();
    if (!keep) return;
    const base = open ? editor.revision : (await get(`images/${image}`)).revision;
    const sent = outbox.repeat(image, base);
    if (open) editor.base = base + outbox.of(image).length;
    await sent;
  }

  /** Wait until the server has everything. */
  async whenSaved() {
    while (this.outbox.waiting.length && this.outbox.online && !this.outbox.conflicts.size) await new Promise((resolve) => setTimeout(resolve, 30));
  }

  tellSaved() {
    const { waiting, online, conflicts } = this.outbox;
    const state = conflicts.size ? "conflict" : !online ? "offline" : waiting.length ? "sending" : "saved";
    const text = { conflict: "Changed elsewhere", offline: `Offline, ${waiting.length} waiting`, sending: "Saving…", saved: `Saved, revision ${this.editor.revision}` }[state];
    byId("saved").dataset.state = state;
    if (byId("saved").textContent !== text) byId("saved").textContent = text;
  }

  tellPlace() {
    const at = this.tools.hover;
    const element = byId("place");
    if (!at || !this.editor.image) return fill(element);
    const own = this.classes.find((one) => one.value === this.editor.map.at(at.x, at.y));
    fill(element, own && h("i", { style: { background: own.color } }), `${own ? own.name : "unlabelled"}   ${at.x}, ${at.y}`);
  }

  tellBusy() {
    const loading = this.settings.tool === "superpixel" && this.editor.superpixels?.loading;
    byId("busy").hidden = !loading;
    byId("busy").textContent = loading ? "Finding superpixels" : "";
  }

  async poll() {
    const { editor, outbox } = this;
    const open = editor.image?.id;
    try {
      /** @type {import("./api.js").Poll} */
      const poll = await get(`state?tab=${this.tab}${open ? `&image=${open}` : ""}`);
      if (!outbox.online) {
        outbox.online = true;
        void outbox.pump();
      }
      this.setClasses(poll.classes);
      this.trainer.follow(poll.training);
      this.suggested(poll.suggester);
      byId("others").hidden = !poll.others.length;
      byId("others").textContent = poll.others.length ? `Also open: ${poll.others.join(", ")}` : "";
      if (poll.failure && poll.failure !== this.told) this.say(poll.failure, "warn");
      this.told = poll.failure ?? "";
      if (!poll.image || poll.image.id !== editor.image?.id) return;
      const before = this.strip.images.find((image) => image.id === open);
      if (JSON.stringify(before) !== JSON.stringify(poll.image)) {
        this.strip.update(poll.image);
      }
      if (poll.image.revision > editor.revision && !outbox.of(poll.image.id).length && !editor.stroke) {
        await editor.refresh();
        this.say("Updated: this image was changed in another window.");
      }
    } catch (error) {
      if (error instanceof Refused && error.status === 0) outbox.online = false;
      if (error instanceof Refused && error.status === 401 && this.told !== error.message) this.say((this.told = error.message), "warn");
    }
    this.tellSaved();
  }

  /** @param {string} text @param {"" | "warn"} [kind] */
  say(text, kind = "") {
    say(text, kind);
  }

  /** @param {KeyboardEvent} event */
  keydown(event) {
    if (isTyping(event.target)) return;
    const action = this.actions.get(nameOf(event));
    if (!action) return;
    // Buttons and sliders keep their own keys.
    const own = event.target instanceof HTMLElement && event.target !== byId("stage") && event.target !== document.body;
    if (own && ["Enter", " ", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Tab"].includes(event.key)) return;
    event.preventDefault();
    action(event);
  }

  /** @param {KeyboardEvent} event */
  keyup(event) {
    if (event.key === " ") this.pointer.hold(false);
    if (event.key === "Tab") this.peek(false);
  }

  /** @param {boolean} peek */
  peek(peek) {
    if (this.screen.peek === peek) return;
    this.screen.peek = peek;
    this.screen.redraw("overlay");
  }

  help() {
    const groups = [...new Set(this.keys.map((key) => key.group))];
    void question("Keys", [h("div", { className: "keys" }, ...groups.flatMap((group) => [
      h("h3", {}, group),
      ...this.keys.filter((key) => key.group === group).map((key) => h("div", {}, h("span", {}, key.what), h("span", {}, ...signsOf(key.keys).map((sign) => h("kbd", {}, sign))))),
    ]))], "Close", false);
  }
}

/** @param {string} theme */
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("maskwright-theme", theme);
}

async function main() {
  setTheme(localStorage.getItem("maskwright-theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
  try {
    /** @type {import("./api.js").Project} */
    const project = await get("project");
    const tab = sessionStorage.getItem("tab") ?? Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16)).join("");
    sessionStorage.setItem("tab", tab);
    void navigator.locks?.request(`tab-${tab}`, () => new Promise(() => {})); // held while the tab lives
    const app = new App(project, tab, await browserStore(project.id, tab));
    await app.start();
    return app;
  } catch (error) {
    fill(byId("title"), "Not open");
    fill(byId("notices"), h("div", { className: "notice warn" }, /** @type {Error} */ (error).message));
    if (!(error instanceof Refused)) throw error;
    return null;
  }
}

/** The page; null where it could not be opened. */
export const app = await main();
