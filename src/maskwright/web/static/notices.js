// What the page tells its user, over the image: for a while, or until it is answered.

import { byId, h } from "./dom.js";

/** @param {string} kind @param {string} text @param {...HTMLButtonElement} actions */
export function notice(kind, text, ...actions) {
  const same = [...byId("notices").children].find((one) => one.firstChild?.textContent === text);
  same?.remove();
  const shown = h("div", { className: `notice ${kind}` }, h("div", {}, text), actions.length > 0 && h("div", { className: "actions" }, ...actions));
  byId("notices").append(shown);
  return shown;
}

/** @param {string} text @param {"" | "warn"} [kind] */
export function say(text, kind = "") {
  const shown = notice(kind, text);
  setTimeout(() => shown.remove(), kind ? 12000 : 3500);
}
