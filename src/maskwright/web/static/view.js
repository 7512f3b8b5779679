// Where the image lies on the screen. Sizes on the screen are in device pixels; the image's pixel (0, 0) reaches from 0 to 1.

/** @typedef {{width: number, height: number}} Size */

const LARGEST = 64; // device pixels for one of the image
const MARGIN = 24; // that fitting leaves free

export class View {
  /** @param {Size} image @param {Size} screen */
  constructor(image, screen) {
    this.image = image;
    this.screen = screen;
    this.scale = 1;
    this.x = 0; // of the image, at the screen's left edge
    this.y = 0;
    this.fitted = true;
    this.fit();
  }

  /** Device pixels for one of the image when all of it is seen. */
  get fitting() {
    const { image, screen } = this;
    const margin = Math.min(MARGIN * 2, screen.width / 4, screen.height / 4);
    return Math.min((screen.width - margin) / image.width, (screen.height - margin) / image.height);
  }

  fit() {
    this.scale = Math.min(LARGEST, Math.max(1e-3, this.fitting));
    this.centre(this.image.width / 2, this.image.height / 2);
    this.fitted = true;
  }

  /** @param {number} x @param {number} y */
  centre(x, y) {
    this.x = x - this.screen.width / 2 / this.scale;
    this.y = y - this.screen.height / 2 / this.scale;
    this.fitted = false;
    this.clamp();
  }

  /** @param {Size} screen */
  resize(screen) {
    const x = this.x + this.screen.width / 2 / this.scale;
    const y = this.y + this.screen.height / 2 / this.scale;
    this.screen = screen;
    if (this.fitted) this.fit();
    else this.centre(x, y);
  }

  /** Zoom so that what is at a place of the screen stays there. @param {number} factor @param {number} sx @param {number} sy */
  zoom(factor, sx, sy) {
    const at = this.toImage(sx, sy);
    const least = Math.min(1, this.fitting) / 2;
    this.scale = Math.min(LARGEST, Math.max(least, this.scale * factor));
    this.x = at.x - sx / this.scale;
    this.y = at.y - sy / this.scale;
    this.fitted = false;
    this.clamp();
  }

  /** @param {number} dx @param {number} dy device pixels */
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.fitted = false;
    this.clamp();
  }

  /** The middle of the screen always shows something of the image. */
  clamp() {
    const { image, screen, scale } = this;
    const half = { x: screen.width / 2 / scale, y: screen.height / 2 / scale };
    this.x = Math.min(Math.max(this.x, -half.x), image.width - half.x);
    this.y = Math.min(Math.max(this.y, -half.y), image.height - half.y);
  }

  /** @param {number} sx @param {number} sy */
  toImage(sx, sy) {
    return { x: this.x + sx / this.scale, y: this.y + sy / this.scale };
  }

  /** @param {number} x @param {number} y */
  toScreen(x, y) {
    return { x: (x - this.x) * this.scale, y: (y - this.y) * this.scale };
  }

  /** The part of the image that is seen: first and after last row and column. */
  get visible() {
    const { image, screen, scale } = this;
    return {
      x0: Math.max(0, Math.floor(this.x)),
      y0: Math.max(0, Math.floor(this.y)),
      x1: Math.min(image.width, Math.ceil(this.x + screen.width / scale)),
      y1: Math.min(image.height, Math.ceil(this.y + screen.height / scale)),
    };
  }
}
