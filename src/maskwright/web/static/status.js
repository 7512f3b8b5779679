// The status of the open image: done, skipped, or flagged with a note.

import { post } from "./api.js";
import { byId, fill, h, question } from "./dom.js";
import { icon } from "./icons.js";

/** @typedef {import("./api.js").ImageState} ImageState */
/** @typedef {import("./main.js").App} App */

const STATUSES = /** @type {const} */ ([["done", "Done", "done"], ["skipped", "Skip", "skip"], ["flagged", "Flag", "flag"]]);

/** Set a status, or take it back; a flag asks for a note. @param {App} app @param {string} status */
export async function setStatus(app, status) {
  const { image } = app.editor;
  if (!image) return;
  const wanted = image.status === status ? "open" : status;
  let { note } = image;
  if (wanted === "flagged") {
    const text = h("textarea", { name: "note", rows: 3, required: true }, note);
    const found = await question("Flag this image", [h("label", { className: "field" }, "What is wrong, or to ask?", text)], "Flag");
    if (!found) return;
    note = String(found.get("note"));
  }
  try {
    const state = await post(`images/${image.id}/status`, { status: wanted, note });
    Object.assign(image, { status: state.status, note: state.note });
    tellStatus(app, image);
    app.strip.update(state);
    if (wanted === "done" || wanted === "skipped") app.step(1);
  } catch (error) {
    app.say(/** @type {Error} */ (error).message, "warn");
  }
}

/** Show the status of the open image. @param {App} app @param {ImageState} image */
export function tellStatus(app, image) {
  fill(byId("status"), ...STATUSES.map(([status, label, name]) =>
    h("button", { title: status === "flagged" && image.note ? image.note : label, "aria-pressed": String(image.status === status), "data-status": status, onclick: () => void app.setStatus(status) }, icon(name), h("span", {}, label))));
}
