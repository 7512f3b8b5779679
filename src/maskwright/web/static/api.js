// What the server is asked, and what it answers.

import { decode } from "./runs.js";

/** @typedef {import("./runs.js").Box} Box */
/** @typedef {{value: number, name: string, color: string}} LabelClass */
/** @typedef {{id: number, name: string, stack: string | null, page: number | null, width: number, height: number,
 *   status: string, note: string, revision: number, labelled: number, validation: boolean}} ImageState */
/** @typedef {{channels: number[], low: number[], high: number[], gamma: number}} Shown */
/** @typedef {ImageState & {channels: number, kind: string, limits: [number, number][], ranges: [number, number][],
 *   levels: number, shown: Shown}} ImageFacts */
/** @typedef {{name: string, person: string, id: string, classes: LabelClass[], images: ImageState[], suggester: string | null}} Project */
/** @typedef {{image: ImageState | null, classes: LabelClass[], others: string[],
 *   failure: string | null, suggester: string | null, training: boolean}} Poll */

/** An answer that is no success. `status` is 0 where no answer came. */
export class Refused extends Error {
  /** @param {number} status @param {string} text @param {string} kind */
  constructor(status, text, kind = "") {
    super(text);
    this.status = status;
    this.kind = kind;
  }
}

/**
 * @param {string} path @param {RequestInit} [how]
 * @returns {Promise<Response>}
 */
export async function ask(path, how) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, how);
  } catch (error) {
    if (how?.signal?.aborted) throw error;
    throw new Refused(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const text = [told.what, told.expected, told.remedy].filter(Boolean).join(" ");
  throw new Refused(answer.status, text || `The server answered ${answer.status}.`, told.kind);
}

/** @param {string} path @returns {Promise<any>} */
export const get = async (path) => (await ask(path)).json();

/** @param {string} path @param {unknown} content @returns {Promise<any>} */
export const post = async (path, content) => (await ask(path, { method: "POST", body: JSON.stringify(content) })).json();

/** @param {ImageState} image @returns {Promise<{values: Uint8Array, revision: number}>} */
export async function labels(image) {
  const answer = await ask(`images/${image.id}/labels`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return { values: decode(bytes, image.width * image.height), revision: Number(answer.headers.get("X-Revision")) };
}

/** @param {ImageState} image @param {Box} box @returns {Promise<Uint8Array<ArrayBuffer>>} runs */
export async function labelsOf(image, box) {
  const answer = await ask(`images/${image.id}/labels?box=${box.join(",")}`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** @param {ImageState} image */
export async function suggestion(image) {
  const answer = await ask(`images/${image.id}/suggestion`);
  const values = decode(new Uint8Array(await answer.arrayBuffer()), image.width * image.height);
  return { values, model: answer.headers.get("X-Model") ?? "" };
}

/**
 * Where the image looks as in one pixel.
 * @param {ImageState} image
 * @param {{row: number, column: number, tolerance: number, connected: boolean}} what
 */
export async function alike(image, what) {
  const answer = await ask(`images/${image.id}/regions/alike`, { method: "POST", body: JSON.stringify(what) });
  const box = /** @type {Box} */ ((answer.headers.get("X-Box") ?? "").split(",").map(Number));
  return { box, runs: new Uint8Array(await answer.arrayBuffer()) };
}

/** @param {ImageState} image @param {number} row @param {number} column @param {number} area */
export async function superpixels(image, row, column, area) {
  const answer = await ask(`images/${image.id}/superpixels/${row}/${column}?area=${area}`);
  return new Uint16Array(await answer.arrayBuffer());
}
