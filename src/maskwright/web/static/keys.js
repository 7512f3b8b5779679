// The keys, as one table: what the help shows is what works.

/** @typedef {{keys: string, what: string, group: string, run?: (event: KeyboardEvent) => void}} Key */

/** The name of a key press: "Ctrl+Shift+Z", "b", "PageUp". @param {KeyboardEvent} event */
export function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shifted = event.shiftKey && (event.key.length > 1 || event.key.toLowerCase() !== event.key.toUpperCase());
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shifted ? "Shift+" : ""}${key}`;
}

/** Whether keys are meant for what has the focus. @param {EventTarget | null} target */
export function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.closest("dialog")) return true;
  if (target instanceof HTMLInputElement) return !["checkbox", "range", "color"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

/**
 * The action of each key name. "1-9" stands for nine keys, "A, B" for either.
 * @param {Key[]} table
 */
export function actionsOf(table) {
  /** @type {Map<string, (event: KeyboardEvent) => void>} */
  const actions = new Map();
  for (const { keys, run } of table) {
    if (!run) continue;
    for (const name of keys.split(/, (?=.)/)) {
      if (name === "1–9") for (let digit = 1; digit < 10; digit++) actions.set(String(digit), run);
      else actions.set(name === "Space" ? " " : name, run);
    }
  }
  return actions;
}

/** @type {Record<string, string>} */
const SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", PageUp: "Page Up", PageDown: "Page Down" };

/** What stands on the keys of an entry: one text each. @param {string} keys */
export function signsOf(keys) {
  return keys.split(/, (?=.)/).map((name) => name.split(/\+(?=.)/).map((part) => SIGNS[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(" "));
}
