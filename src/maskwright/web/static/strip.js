// The images: thumbnails with their status, filtered, and how far the work is.

import { fill, h } from "./dom.js";
import { icon } from "./icons.js";

/** @typedef {import("./api.js").ImageState} ImageState */
/** @typedef {import("./api.js").LabelClass} LabelClass */

export const FILTERS = { all: "All images", open: "Open", unlabelled: "Unlabelled", labelled: "Labelled", done: "Done", skipped: "Skipped", flagged: "Flagged" };

/**
 * The images that a filter leaves.
 * @param {ImageState[]} images
 * @param {{status: string, name: string, value: number | null}} filter
 * @param {Record<string, Record<string, number>>} counts pixels by image and value
 */
export function filtered(images, { status, name, value }, counts) {
  const wanted = name.trim().toLowerCase();
  return images.filter((image) => {
    const labelled = image.revision > 0 || image.labelled > 0;
    if (status === "unlabelled" ? labelled : status === "labelled" ? !labelled : status !== "all" && image.status !== status) return false;
    if (wanted && !image.name.toLowerCase().includes(wanted)) return false;
    return value === null || (counts[image.id]?.[value] ?? 0) > 0;
  });
}

export class Strip {
  /**
   * @param {HTMLElement} filters @param {HTMLElement} list @param {(image: ImageState) => void} open
   * @param {() => void} counted asks for new counts: the filter goes by them
   */
  constructor(filters, list, open, counted) {
    this.counted = counted;
    this.filters = filters;
    this.list = list;
    this.open = open;
    /** @type {ImageState[]} */
    this.images = [];
    /** @type {LabelClass[]} */
    this.classes = [];
    /** @type {Record<string, Record<string, number>>} */
    this.counts = {};
    this.current = 0;
    this.filter = { status: "all", name: "", value: /** @type {number | null} */ (null) };
    this.progress = h("span", { className: "progress" });
    this.seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting || !(target instanceof HTMLImageElement) || target.src) continue;
        target.src = target.dataset.src ?? "";
        this.seen.unobserve(target);
      }
    }, { root: list, rootMargin: "400px" });
  }

  get shown() {
    return filtered(this.images, this.filter, this.counts);
  }

  /** The image before or after the open one, of those shown. @param {number} step @returns {ImageState | null} */
  beside(step) {
    const { shown } = this;
    const place = shown.findIndex((image) => image.id === this.current);
    return shown[place < 0 ? 0 : place + step] ?? null;
  }

  /** The next image without labels, after the open one and then from the start. @returns {ImageState | null} */
  nextUnlabelled() {
    const place = this.images.findIndex((image) => image.id === this.current);
    const order = [...this.images.slice(place + 1), ...this.images.slice(0, Math.max(0, place))];
    return order.find((image) => image.status === "open" && image.revision === 0) ?? null;
  }

  /** @param {ImageState[]} images @param {LabelClass[]} classes */
  show(images, classes) {
    this.images = images;
    this.classes = classes;
    const { filter } = this;
    const status = h("select", { "aria-label": "Status" }, ...Object.entries(FILTERS).map(([value, text]) => h("option", { value, selected: value === filter.status }, text)));
    status.onchange = () => this.apply({ status: status.value });
    const of = h("select", { "aria-label": "Class" }, h("option", { value: "" }, "Any class"), ...classes.map((c) => h("option", { value: String(c.value), selected: c.value === filter.value }, c.name)));
    of.onchange = () => {
      this.apply({ value: of.value === "" ? null : Number(of.value) });
      this.counted();
    };
    const name = h("input", { type: "search", placeholder: "Name", "aria-label": "Name", value: filter.name });
    name.oninput = () => this.apply({ name: name.value });
    fill(this.filters, status, of, name, h("span", { className: "space" }), this.progress);
    this.draw();
  }

  /** @param {Partial<Strip["filter"]>} filter */
  apply(filter) {
    Object.assign(this.filter, filter);
    this.draw();
  }

  /** @param {ImageState} image */
  update(image) {
    this.images = this.images.map((one) => (one.id === image.id ? image : one));
    const item = this.list.querySelector(`[data-id="${image.id}"]`);
    if (item && this.shown.some((one) => one.id === image.id)) item.replaceWith(this.item(image));
    else this.draw();
    this.tellProgress();
  }

  draw() {
    fill(this.list, ...this.shown.map((image) => this.item(image)));
    if (!this.list.children.length) fill(this.list, h("li", { className: "none" }, "No image is left by the filter."));
    this.tellProgress();
    this.scroll();
  }

  tellProgress() {
    const done = this.images.filter((image) => image.status === "done").length;
    const bar = h("span", { className: "bar" }, h("i", { style: { width: `${(100 * done) / Math.max(1, this.images.length)}%` } }));
    fill(this.progress, bar, ` ${done} of ${this.images.length} done`);
  }

  /** @param {number} current */
  choose(current) {
    this.current = current;
    for (const button of this.list.querySelectorAll("button")) button.setAttribute("aria-current", String(button.parentElement?.dataset.id === String(current)));
    this.scroll();
  }

  scroll() {
    this.list.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** @param {ImageState} image */
  item(image) {
    const picture = h("img", { alt: "", draggable: false, "data-src": `/api/images/${image.id}/thumbnail` });
    this.seen.observe(picture);
    const mark = { done: "done", skipped: "skip", flagged: "flag" }[image.status];
    const told = `${image.name}, ${image.status}, ${Math.round(image.labelled * 100)} % labelled`;
    const button = h("button", { title: image.note ? `${told}: ${image.note}` : told, "aria-label": told, "aria-current": String(image.id === this.current), "data-status": image.status, onclick: () => this.open(image) },
      picture,
      h("span", { className: "name" }, image.name),
      mark && h("span", { className: "mark" }, icon(mark)),
      h("span", { className: "share", style: { width: `${100 * image.labelled}%` } }));
    return h("li", { "data-id": image.id }, button);
  }
}
