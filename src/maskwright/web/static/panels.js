// The panels beside the image: classes, the tool's options, layers, and how the image is shown.

import { post } from "./api.js";
import { check, fill, h, question, slider } from "./dom.js";
import { icon } from "./icons.js";
import { fillHoles, grow, removeSpecks, shrink, smooth } from "./regions.js";
import { UNLABELLED } from "./runs.js";
import { copyToNext } from "./stack.js";
import { TOOLS } from "./tools.js";

/** @typedef {import("./api.js").LabelClass} LabelClass */
/** @typedef {import("./main.js").App} App */

/** @param {string} title @param {...(Node | null)} buttons */
const head = (title, ...buttons) => h("div", { className: "head" }, h("h2", {}, title), ...buttons);

/** @param {App} app @param {HTMLElement} section */
export function classesPanel(app, section) {
  const { settings } = app;
  const total = app.editor.image ? app.editor.image.width * app.editor.image.height : 1;
  const counts = app.counts[app.editor.image?.id ?? 0] ?? {};
  const items = app.classes.map((own, place) => {
    const locked = settings.locked.includes(own.value);
    const alone = settings.alone === own.value;
    const share = (counts[own.value] ?? 0) / total;
    return h("li", { "aria-current": String(settings.value === own.value) },
      h("button", { className: "choose", title: `${own.name}${place < 9 ? ` (${place + 1})` : ""}`, onclick: () => app.choose(own.value), ondblclick: () => void edit(app, own) },
        h("span", { className: "swatch", style: { background: own.color } }),
        h("span", { className: "name" }, own.name),
        h("span", { className: "count" }, share ? percent(share) : ""),
        place < 9 && h("kbd", {}, String(place + 1))),
      h("button", { className: "icon", title: alone ? "Show all classes" : "Show this class alone", "aria-label": `Show ${own.name} alone`, "aria-pressed": String(alone), onclick: () => app.set({ alone: alone ? null : own.value }) }, icon("eye")),
      h("button", { className: "icon", title: locked ? "Unlock: its pixels may change" : "Lock: its pixels stay", "aria-label": `Lock ${own.name}`, "aria-pressed": String(locked), onclick: () => app.set({ locked: locked ? settings.locked.filter((v) => v !== own.value) : [...settings.locked, own.value] }) }, icon(locked ? "lock" : "unlock")),
      h("button", { className: "icon", title: "Edit…", "aria-label": `Edit ${own.name}`, onclick: () => void edit(app, own) }, icon("more")));
  });
  fill(section,
    head("Classes", h("button", { className: "icon", title: "Add a class", "aria-label": "Add a class", onclick: () => void add(app) }, icon("plus"))),
    h("ul", { className: "classes" }, ...items),
    check("Paint only unlabelled pixels", settings.onlyUnlabelled, (onlyUnlabelled) => app.set({ onlyUnlabelled }), "U"));
}

/** @param {number} share */
const percent = (share) => (share < 0.001 ? "<0.1 %" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`);

/** @param {App} app */
async function add(app) {
  const name = h("input", { type: "text", name: "name", required: true, maxLength: 60 });
  const found = await question("Add a class", [h("label", { className: "field" }, "Name", name)], "Add");
  if (found) await change(app, { action: "add", name: String(found.get("name")) });
}

/** @param {App} app @param {LabelClass} own */
async function edit(app, own) {
  const others = app.classes.filter((one) => one.value !== own.value);
  const merge = h("select", { name: "merge" }, h("option", { value: "" }, "–"), ...others.map((one) => h("option", { value: one.name }, one.name)));
  const fields = [
    h("label", { className: "field" }, "Name", h("input", { type: "text", name: "name", value: own.name, required: true, maxLength: 60 })),
    h("label", { className: "field" }, "Colour", h("input", { type: "color", name: "color", value: own.color })),
    h("label", { className: "field" }, "Merge into another class (all its pixels, in all images)", merge),
    check("Delete the class: its pixels become unlabelled", false, () => {}),
  ];
  const found = await question(`Edit ${own.name}`, fields, "Save");
  if (!found) return;
  const deleted = /** @type {HTMLInputElement} */ (fields[3]?.querySelector("input")).checked;
  if (deleted) return change(app, { action: "delete", name: own.name });
  if (found.get("merge")) return change(app, { action: "merge", name: own.name, into: found.get("merge") });
  if (found.get("color") !== own.color) await change(app, { action: "recolor", name: own.name, color: found.get("color") });
  if (found.get("name") !== own.name) await change(app, { action: "rename", name: own.name, new: found.get("name") });
}

/** @param {App} app @param {object} what */
async function change(app, what) {
  try {
    await app.whenSaved();
    app.setClasses((await post("classes", what)).classes);
    await app.editor.refresh();
  } catch (error) {
    app.say(/** @type {Error} */ (error).message, "warn");
  }
}

/** @param {App} app @param {HTMLElement} section */
export function toolPanel(app, section) {
  const { settings, editor, tools } = app;
  const tool = TOOLS.find((one) => one.name === settings.tool);
  const parts = [];
  const px = (/** @type {number} */ v) => `${v} px`;
  if (["brush", "eraser", "accept"].includes(settings.tool)) {
    // Sizes are chosen by factors: 1 to 512.
    parts.push(slider("Size", { min: 0, max: 90, value: Math.round(10 * Math.log2(settings.size)), shown: (v) => px(v === Math.round(10 * Math.log2(settings.size)) ? settings.size : Math.round(2 ** (v / 10))), oninput: (v) => app.set({ size: Math.round(2 ** (v / 10)) }, "cursor") }));
    parts.push(check("Pen pressure changes the size", settings.pressure, (pressure) => app.set({ pressure }, "cursor")));
  }
  if (settings.tool === "fill") parts.push(slider("Tolerance", { min: 0, max: 60, value: Math.round(settings.tolerance * 100), shown: (v) => `${v} %`, oninput: (v) => app.set({ tolerance: v / 100 }, "cursor") }));
  if (settings.tool === "superpixel") {
    const input = slider("Size of superpixels", { min: 25, max: 2000, step: 25, value: settings.area, shown: px, oninput: () => {} });
    const range = /** @type {HTMLInputElement} */ (input.querySelector("input"));
    range.onchange = () => app.set({ area: Number(range.value) });
    parts.push(input);
  }
  const own = (/** @type {(map: any, value: number, set: any) => void} */ what) => () =>
    editor.change((stroke) => what(editor.map, settings.value, (/** @type {number} */ y, /** @type {number} */ x0, /** @type {number} */ x1, /** @type {number} */ v) => stroke.span(y, x0, x1, v)));
  const rest = () => editor.change((stroke) => {
    stroke.allowed = new Uint8Array(256);
    stroke.allowed[UNLABELLED] = 1;
    for (let y = 0; y < editor.map.height; y++) stroke.span(y, 0, editor.map.width, settings.value);
  });
  const name = app.classes.find((one) => one.value === settings.value)?.name ?? "";
  const actions = h("div", { className: "buttons" },
    h("button", { className: "wide", title: "All unlabelled pixels get the class", onclick: rest }, "Fill all unlabelled"),
    h("button", { onclick: own(fillHoles), title: "What lies within the class becomes the class" }, "Fill holes"),
    h("button", { onclick: own((map, value, set) => removeSpecks(map, value, settings.specks, set)), title: `Pieces below ${settings.specks} pixels go` }, "Remove specks"),
    h("button", { onclick: own(grow), title: "One pixel on all sides" }, "Grow"),
    h("button", { onclick: own(shrink), title: "One pixel on all sides" }, "Shrink"),
    editor.image?.stack && h("button", { className: "wide", onclick: () => void copyToNext(app), title: "Labels of this page, where the next one has none" }, "Copy labels to the next page"),
    h("button", { className: "wide", onclick: own(smooth), title: "Outlines of the class become smoother" }, "Smooth"));
  const accepting = editor.suggestion && h("div", { className: "buttons" },
    h("button", { onclick: () => tools.acceptAll(), title: "Where nothing is labelled" }, "Accept all"),
    h("button", { onclick: () => tools.acceptAll(settings.value), title: "Where nothing is labelled" }, "Accept class"));
  if (parts.length || accepting) parts.unshift(head(tool?.label ?? "Tool"));
  fill(section, ...parts, accepting || null, head(`All of ${name}`), actions);
}

/** @param {App} app @param {HTMLElement} section */
export function layersPanel(app, section) {
  const { settings, editor } = app;
  const shown = (/** @type {number} */ v) => `${v} %`;
  fill(section, head("Layers", h("kbd", { title: "Hold to see the image alone" }, "Tab")),
    check("Image", settings.image, (image) => app.set({ image })),
    check("Labels", settings.labels, (labels) => app.set({ labels })),
    slider("Opacity", { min: 0, max: 100, value: Math.round(settings.opacity * 100), shown, oninput: (v) => app.set({ opacity: v / 100 }, "layers") }),
    check("Outlines", settings.outlines, (outlines) => app.set({ outlines })),
    editor.suggestion && check("Suggestions", settings.suggestions, (suggestions) => app.set({ suggestions })),
    editor.suggestion && slider("Opacity of suggestions", { min: 0, max: 100, value: Math.round(settings.suggested * 100), shown, oninput: (v) => app.set({ suggested: v / 100 }, "layers") }));
}

/** @param {App} app @param {HTMLElement} section */
export function tonesPanel(app, section) {
  const { image, tiles } = app.editor;
  if (!image || !tiles) return fill(section);
  const first = image.shown;
  const { shown } = tiles;
  const [low, high] = [Math.min(...image.limits.map((l) => l[0])), Math.max(...image.limits.map((l) => l[1]))];
  const span = image.kind === "uint8" ? 255 : Math.max(high - low, 1e-6);
  const floor = image.kind === "uint8" ? 0 : low;
  const step = image.kind.startsWith("float") ? span / 1000 : 1;
  const text = (/** @type {number} */ v) => (step < 1 ? v.toPrecision(3) : String(Math.round(v)));
  let waiting = 0;
  const show = (/** @type {Partial<import("./api.js").Shown>} */ what) => {
    tiles.shown = { ...tiles.shown, ...what };
    clearTimeout(waiting);
    waiting = setTimeout(() => tiles.show(tiles.shown), 60);
  };
  const names = ["Red", "Green", "Blue"];
  const pick = (/** @type {number} */ place) => {
    const select = h("select", { "aria-label": `Channel shown as ${names[place]}` }, ...image.ranges.map((_, c) => h("option", { value: String(c), selected: shown.channels[place] === c }, `Channel ${c + 1}`)));
    select.onchange = () => {
      const channels = [...tiles.shown.channels];
      channels[place] = Number(select.value);
      show(ranged(image, channels));
    };
    return h("label", { className: "field" }, shown.channels.length > 1 ? /** @type {string} */ (names[place]) : "Shown", select);
  };
  const grey = check("One channel, grey", shown.channels.length === 1, (one) => {
    show(ranged(image, one ? [shown.channels[0] ?? 0] : first.channels.length === 3 ? first.channels : [0, 1, 2].map((c) => Math.min(c, image.channels - 1))));
    tonesPanel(app, section);
  });
  fill(section,
    head("Image", h("button", { className: "plain", onclick: () => { tiles.show(first); tonesPanel(app, section); } }, "Reset")),
    slider("Black", { min: floor, max: floor + span, step, value: Math.min(...shown.low), shown: text, oninput: (v) => show({ low: shown.channels.map(() => v) }) }),
    slider("White", { min: floor, max: floor + span, step, value: Math.max(...shown.high), shown: text, oninput: (v) => show({ high: shown.channels.map(() => v) }) }),
    slider("Gamma", { min: -20, max: 20, value: Math.round(10 * Math.log2(shown.gamma)), shown: (v) => (2 ** (v / 10)).toFixed(2), oninput: (v) => show({ gamma: 2 ** (v / 10) }) }),
    image.channels > 1 && grey,
    ...(image.channels > 1 && !(image.channels === 3 && shown.channels.length === 3) ? shown.channels.map((_, place) => pick(place)) : []));
}

/** @param {import("./api.js").ImageFacts} image @param {number[]} channels */
const ranged = (image, channels) => ({
  channels,
  low: channels.map((c) => image.ranges[c]?.[0] ?? 0),
  high: channels.map((c) => image.ranges[c]?.[1] ?? 255),
});
