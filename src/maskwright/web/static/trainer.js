// Training from the page: begin a round, watch its curves, stop it, and see whether more labels still help.

import { get, post } from "./api.js";
import { fill, h } from "./dom.js";

/** @typedef {{at: string, run: string, pixels: number, seconds: number, miou: number | null}} Round */
/** @typedef {{running: boolean, minutes: number, seconds: number, message: string, loss: [number, number][],
 *   miou: [number, number][], rounds: Round[]}} Training */

const SVG = "http://www.w3.org/2000/svg";

export class Trainer {
  /** @param {HTMLElement} section @param {(text: string) => void} warn @param {() => Promise<void>} whenSaved */
  constructor(section, warn, whenSaved) {
    this.section = section;
    this.warn = warn;
    this.whenSaved = whenSaved;
    this.running = false;
    this.minutes = 5;
    this.told = "";
    void this.show();
  }

  /** @param {boolean} running as the server says */
  follow(running) {
    if (running || this.running) void this.show();
    this.running = running;
  }

  async show() {
    /** @type {Training | null} */
    const training = await get("training").catch(() => null);
    if (!training) return;
    if (training.message && training.message !== this.told) this.warn(training.message);
    this.told = training.message;
    if (this.section.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement) return;
    fill(this.section, h("div", { className: "head" }, h("h2", {}, "Model")), ...(training.running ? this.going(training) : this.idle()), ...past(training.rounds));
  }

  idle() {
    const minutes = h("input", { type: "number", min: 1, max: 1440, step: 1, value: String(this.minutes), "aria-label": "Minutes" });
    minutes.onchange = () => (this.minutes = Number(minutes.value));
    return [
      h("form", { className: "train", onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); this.minutes = Number(minutes.value); void this.ask({ minutes: this.minutes }); } },
        h("span", {}, "Train for"), minutes, h("span", {}, "min"), h("button", { className: "primary" }, "Train")),
    ];
  }

  /** @param {Training} training */
  going({ minutes, seconds, loss, miou }) {
    const left = Math.max(0, minutes * 60 - seconds);
    const part = Math.min(1, seconds / (minutes * 60));
    return [
      h("div", { className: "bar", role: "progressbar", "aria-valuenow": String(Math.round(part * 100)), "aria-label": "Training" }, h("i", { style: { width: `${part * 100}%` } })),
      h("div", { className: "train" }, h("span", {}, `${Math.floor(left / 60)}:${String(Math.floor(left % 60)).padStart(2, "0")} left`), h("button", { onclick: () => void this.ask({ stop: true }) }, "Stop")),
      curve("Validation mIoU", miou, [0, 1]),
      curve("Loss", loss, null),
    ];
  }

  /** @param {object} what */
  async ask(what) {
    await this.whenSaved();
    try {
      await post("training", what);
      this.running = true;
    } catch (error) {
      this.warn(/** @type {Error} */ (error).message);
    }
    await this.show();
  }
}

/**
 * A line over the training's time, with its last value.
 * @param {string} label @param {[number, number][]} points from 0 to 1, and values @param {[number, number] | null} range
 */
function curve(label, points, range) {
  const values = points.map(([, value]) => value).filter(Number.isFinite);
  const last = values.at(-1);
  const [low, high] = range ?? [0, Math.max(...values, 1e-6)];
  const [width, height] = [240, 56];
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("class", "curve");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${label} ${last?.toFixed(3) ?? ""}`);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.map(([x, y]) => `${(x * width).toFixed(1)},${(height - 2 - ((y - low) / (high - low)) * (height - 4)).toFixed(1)}`).join(" "));
  svg.append(line);
  return h("div", {}, h("div", { className: "slider" }, h("span", {}, label), h("output", {}, last?.toFixed(3) ?? "–")), svg);
}

/** Rounds against labelled pixels: does labelling more still help? @param {Round[]} rounds */
function past(rounds) {
  if (!rounds.length) return [];
  return [
    h("table", {}, h("thead", {}, h("tr", {}, ...["Round", "Pixels", "Min", "mIoU"].map((text) => h("th", {}, text)))),
      h("tbody", {}, ...rounds.slice(-6).map((round) => h("tr", {},
        h("td", {}, round.run.replace("round-", "")), h("td", {}, compact(round.pixels)), h("td", {}, (round.seconds / 60).toFixed(1)), h("td", {}, round.miou?.toFixed(3) ?? "–"))))),
  ];
}

/** @param {number} n */
const compact = (n) => Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(n);
