// Making parts of the page.

/**
 * An element with properties, listeners (`onclick`), attributes (`aria-label`, `data-x`) and children.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Record<string, any>} [properties] @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "style") for (const [one, text] of Object.entries(value)) element.style.setProperty(one, String(text));
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value === true ? "" : String(value));
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** @template {HTMLElement} T @param {string} id @returns {T} */
export const byId = (id) => /** @type {T} */ (document.getElementById(id));

/** Replace what is in an element. @param {Element} element @param {...(Node | string | null | undefined | false)} children */
export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false));
}

/**
 * A labelled slider with its value.
 * @param {string} label @param {{min: number, max: number, step?: number, value: number, shown?: (value: number) => string,
 *   oninput: (value: number) => void}} how
 */
export function slider(label, { min, max, step = 1, value, shown = String, oninput }) {
  const output = h("output", {}, shown(value));
  const input = h("input", { type: "range", min, max, step, value, "aria-label": label, "aria-valuetext": shown(value) });
  input.value = String(value); // after its limits
  input.oninput = () => {
    output.textContent = shown(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
    oninput(Number(input.value));
  };
  return h("label", { className: "slider" }, h("span", {}, label), output, input);
}

/** @param {string} label @param {boolean} checked @param {(checked: boolean) => void} onchange @param {string} [title] */
export function check(label, checked, onchange, title) {
  const input = h("input", { type: "checkbox", checked });
  input.onchange = () => onchange(input.checked);
  return h("label", { className: "check", title: title ?? "" }, input, h("span", {}, label));
}

/** A question in a dialog; what the form says, or null. @param {string} title @param {Node[]} fields
 * @param {string} action @param {boolean} [cancel] whether there is something to cancel
 * @returns {Promise<FormData | null>} */
export function question(title, fields, action, cancel = true) {
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog" }, h("h2", {}, title), ...fields,
      h("div", { className: "actions" },
        cancel && h("button", { type: "button", className: "plain", onclick: () => dialog.close() }, "Cancel"),
        h("button", { className: "primary", value: "yes" }, action)));
    const dialog = h("dialog", {}, form);
    dialog.onclose = () => {
      resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
      dialog.remove();
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}
