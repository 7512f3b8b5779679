// Pages of a stack: labels go on from one to the next.

import { copyInto } from "./labels.js";

/** Copy the labels of the open page to the next one, where it has none, and open it. @param {import("./main.js").App} app */
export async function copyToNext(app) {
  const { image, map } = app.editor;
  const next = app.strip.images.find((one) => one.stack === image?.stack && one.page === (image?.page ?? 0) + 1);
  if (!image || !next || next.width !== image.width || next.height !== image.height) return app.say("There is no next page of this size.");
  await app.open(next);
  if (app.editor.image?.id === next.id) app.editor.change((stroke) => copyInto(stroke, map));
}
