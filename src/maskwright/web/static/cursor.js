// What belongs to the cursor: the brush's ring, a polygon or lasso in the making, the superpixel under it.

import { UNLABELLED } from "./runs.js";

/** @typedef {import("./tools.js").Tools} Tools */
/** @typedef {import("./editor.js").Editor} Editor */

/**
 * @param {CanvasRenderingContext2D} context @param {number} ratio device pixels for one of the page
 * @param {Editor} editor @param {Tools} tools @param {string} color of the class
 */
export function drawCursor(context, ratio, editor, tools, color) {
  const { view, settings } = editor;
  const { hover, path, region, name } = tools;
  /** @param {{x: number, y: number}} p a pixel's centre */
  const at = (p) => view.toScreen(p.x + 0.5, p.y + 0.5);
  /** Dark below light is seen on any image. @param {() => void} shape @param {string} line */
  const stroked = (shape, line = "#fff") => {
    for (const [style, width] of /** @type {const} */ ([["rgba(0,0,0,.75)", 3], [line, 1.5]])) {
      context.beginPath();
      shape();
      context.strokeStyle = style;
      context.lineWidth = width * ratio;
      context.stroke();
    }
  };
  if (name === "superpixel" && region) {
    context.fillStyle = `${color}99`;
    editor.regions?.rows(region, (y, x0, x1) => {
      const a = view.toScreen(x0, y);
      const b = view.toScreen(x1, y + 1);
      context.fillRect(a.x, a.y, b.x - a.x, Math.max(1, b.y - a.y));
    });
  }
  if (path.length) {
    const points = path.map(at);
    const outline = (/** @type {boolean} */ closed) => {
      points.forEach((p, i) => (i ? context.lineTo(p.x, p.y) : context.moveTo(p.x, p.y)));
      if (hover && name === "polygon") context.lineTo(at(hover).x, at(hover).y);
      if (closed) context.closePath();
    };
    context.beginPath();
    outline(true);
    context.fillStyle = `${color}40`;
    context.fill();
    stroked(() => outline(false), color);
    if (name === "polygon") {
      points.forEach((p, i) => stroked(() => context.arc(p.x, p.y, (i ? 3 : 5) * ratio, 0, 7)));
    }
  }
  if (!hover) return;
  const p = at(hover);
  if (["brush", "eraser", "accept"].includes(name)) {
    const radius = Math.max(1.5 * ratio, (settings.size / 2) * view.scale);
    stroked(() => context.arc(p.x, p.y, radius, 0, 7)); // white: a class may be black
    if (name === "brush" && radius > 6 * ratio) {
      context.beginPath();
      context.arc(p.x, p.y, radius - 2.5 * ratio, 0, 7);
      context.strokeStyle = color;
      context.lineWidth = 2 * ratio;
      context.stroke();
    }
    if (radius > 12 * ratio) stroked(() => context.arc(p.x, p.y, ratio / 2, 0, 7));
    return;
  }
  const arm = 7 * ratio;
  stroked(() => {
    context.moveTo(p.x - arm, p.y);
    context.lineTo(p.x + arm, p.y);
    context.moveTo(p.x, p.y - arm);
    context.lineTo(p.x, p.y + arm);
  });
}

/** The map of the whole image with the part that is seen. @param {HTMLCanvasElement} canvas @param {Editor} editor @param {number} ratio */
export function drawMinimap(canvas, editor, ratio) {
  const { view, image, tiles, map } = editor;
  const hidden = !image || !tiles || view.scale <= view.fitting * 1.05;
  canvas.hidden = hidden;
  if (hidden) return;
  const scale = Math.min(150 / image.width, 110 / image.height);
  const [width, height] = [Math.max(1, image.width * scale), Math.max(1, image.height * scale)];
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const tile = tiles.get(image.levels, 0, 0);
  if (tile) context.drawImage(tile, 0, 0, canvas.width, canvas.height);
  context.fillStyle = "rgba(88,166,255,.55)";
  for (let y = 0; y < canvas.height; y += 2) {
    for (let x = 0; x < canvas.width; x += 2) {
      if (map.at(Math.floor(x / scale / ratio), Math.floor(y / scale / ratio)) !== UNLABELLED) context.fillRect(x, y, 2, 2);
    }
  }
  const { x0, y0, x1, y1 } = view.visible;
  const s = scale * ratio;
  context.strokeStyle = "#fff";
  context.lineWidth = 1.5 * ratio;
  context.strokeRect(x0 * s, y0 * s, (x1 - x0) * s, (y1 - y0) * s);
}
