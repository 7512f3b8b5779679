// Changes on their way to the server. Each is kept in the browser until the server has it on disk; the order is kept, and
// one that is sent again is not made twice, since it has a key.

import { ask, Refused } from "./api.js";

/** @typedef {import("./runs.js").Box} Box */
/** What is sent; `runs` is what it does to the map, of undo and redo too.
 * @typedef {{number?: number, tab: string, image: number, kind: "patch" | "undo" | "redo", base: number, key: string,
 *   seconds: number, model: string | null, box: Box, runs: Uint8Array<ArrayBuffer>}} Op */
/** A place that keeps ops over a reload.
 * @typedef {{all: () => Promise<Op[]>, add: (op: Op) => Promise<number>, put: (op: Op) => Promise<void>,
 *   remove: (number: number) => Promise<void>}} Store */
/** @typedef {(op: Op) => Promise<{revision: number, box?: Box | null}>} Send */

/** Milliseconds before the server is asked again. */
const AGAIN = 1000;

export class Outbox {
  /**
   * @param {Store} store @param {Send} send
   * @param {{acknowledged: (op: Op, revision: number) => void, refused: (op: Op, error: Refused) => void,
   *   changed: () => void}} told
   */
  constructor(store, send, told) {
    this.store = store;
    this.send = send;
    this.told = told;
    /** @type {Op[]} */
    this.waiting = [];
    /** Images whose changes were drawn on labels that the server no longer has. @type {Set<number>} */
    this.conflicts = new Set();
    this.online = true;
    this.busy = false;
  }

  /** Take over what was not sent before a reload. */
  async load() {
    this.waiting = (await this.store.all()).sort((a, b) => (a.number ?? 0) - (b.number ?? 0));
    void this.pump();
  }

  /** @param {number} image */
  of(image) {
    return this.waiting.filter((op) => op.image === image);
  }

  /** @param {Op} op */
  async add(op) {
    this.waiting.push(op);
    this.told.changed();
    op.number = await this.store.add(op);
    await this.pump();
  }

  /** Send what waits, in order. */
  async pump() {
    if (this.busy) return;
    this.busy = true;
    try {
      for (;;) {
        const op = this.waiting.find((one) => !this.conflicts.has(one.image));
        if (!op) break;
        try {
          const { revision } = await this.send(op);
          this.online = true;
          await this.drop([op]);
          this.told.acknowledged(op, revision);
        } catch (error) {
          if (!(error instanceof Refused)) throw error;
          if (error.status === 0 || error.status >= 500 || error.status === 401) {
            this.online = false;
            setTimeout(() => void this.pump(), AGAIN);
            if (error.status === 401) this.told.refused(op, error);
            break;
          }
          if (error.status === 409) this.conflicts.add(op.image);
          else await this.drop([op]);
          this.told.refused(op, error);
        }
      }
    } finally {
      this.busy = false;
      this.told.changed();
    }
  }

  /** @param {Op[]} ops */
  async drop(ops) {
    this.waiting = this.waiting.filter((op) => !ops.includes(op));
    for (const op of ops) if (op.number !== undefined) await this.store.remove(op.number);
  }

  /**
   * After a conflict: send the strokes again, on the labels that the server has now.
   * @param {number} image @param {number} base
   */
  async repeat(image, base) {
    for (const [i, op] of this.of(image).entries()) {
      op.base = base + i;
      op.kind = "patch"; // what an undo would take back is no longer the last change there
      if (op.number !== undefined) await this.store.put(op);
    }
    this.conflicts.delete(image);
    await this.pump();
  }

  /** After a conflict: give the strokes up. @param {number} image */
  async discard(image) {
    await this.drop(this.of(image));
    this.conflicts.delete(image);
    this.told.changed();
  }
}

/** @type {Send} */
export async function sendToServer(op) {
  const path = `images/${op.image}/`;
  if (op.kind !== "patch") {
    const answer = await ask(path + op.kind, { method: "POST", body: JSON.stringify({ base: op.base, key: op.key }) });
    return answer.json();
  }
  const query = new URLSearchParams({
    base: String(op.base), key: op.key, seconds: op.seconds.toFixed(2), box: op.box.join(","),
  });
  if (op.model) query.set("model", op.model);
  return (await ask(`${path}patches?${query}`, { method: "POST", body: op.runs })).json();
}

/**
 * Keeps ops in the browser's database; in memory where there is none (private windows).
 * @param {string} project @param {string} tab
 * @returns {Promise<Store>}
 */
export async function browserStore(project, tab) {
  /** @type {IDBDatabase | null} */
  const database = await new Promise((resolve) => {
    const opening = indexedDB.open(`maskwright-${project}`, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("ops", { keyPath: "number", autoIncrement: true });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => resolve(null);
  });
  if (!database) {
    let number = 0;
    return { all: async () => [], add: async () => ++number, put: async () => {}, remove: async () => {} };
  }
  /** @template T @param {IDBTransactionMode} mode @param {(ops: IDBObjectStore) => IDBRequest<T>} what @returns {Promise<T>} */
  const run = (mode, what) =>
    new Promise((resolve, reject) => {
      const request = what(database.transaction("ops", mode, { durability: "strict" }).objectStore("ops"));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  return {
    all: async () => {
      const alive = new Set((await navigator.locks?.query())?.held?.map((lock) => lock.name) ?? []);
      /** @type {Op[]} */
      const ops = await run("readonly", (store) => store.getAll());
      return ops.filter((op) => op.tab === tab || !alive.has(`tab-${op.tab}`));
    },
    add: async (op) => Number(await run("readwrite", (store) => store.add(op))),
    put: async (op) => void (await run("readwrite", (store) => store.put(op))),
    remove: async (number) => void (await run("readwrite", (store) => store.delete(number))),
  };
}
