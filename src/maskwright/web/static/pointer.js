// Mouse, pen, finger and arrow keys on the image: they move the view or press the tool.

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./screen.js").Screen} Screen */
/** @typedef {import("./tools.js").Tools} Tools */

export class Pointer {
  /** @param {HTMLElement} stage @param {Editor} editor @param {Screen} screen @param {Tools} tools */
  constructor(stage, editor, screen, tools) {
    this.stage = stage;
    this.editor = editor;
    this.screen = screen;
    this.tools = tools;
    this.panning = false; // while space is held
    /** What is dragged with: the tool, or the view. @type {"tool" | "view" | null} */
    this.drag = null;
    /** Fingers on the screen. @type {Map<number, {x: number, y: number}>} */
    this.touches = new Map();
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    stage.addEventListener("pointerup", (event) => this.up(event));
    stage.addEventListener("pointercancel", (event) => this.up(event));
    stage.addEventListener("lostpointercapture", (event) => this.up(event));
    stage.addEventListener("pointerleave", () => this.leave());
    stage.addEventListener("dblclick", () => tools.path.length > 2 && tools.close());
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  /** On the screen, device pixels. @param {MouseEvent} event */
  place(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: (event.clientX - box.left) * this.screen.ratio, y: (event.clientY - box.top) * this.screen.ratio };
  }

  /** The pixel of the image. @param {PointerEvent} event */
  pixel(event) {
    const { x, y } = this.place(event);
    const at = this.editor.view.toImage(x, y);
    const pressure = event.pointerType === "pen" ? { pressure: event.pressure } : {};
    return { x: Math.floor(at.x), y: Math.floor(at.y), shift: event.shiftKey, ...pressure };
  }

  /** @param {PointerEvent} event */
  down(event) {
    this.stage.focus({ preventScroll: true });
    try {
      this.stage.setPointerCapture(event.pointerId);
    } catch {
      return; // it has gone already
    }
    if (event.pointerType === "touch") {
      this.touches.set(event.pointerId, this.place(event));
      if (this.touches.size === 2) {
        if (this.drag === "tool") this.tools.cancel();
        this.drag = "view";
        return;
      }
    }
    if (event.button === 1 || this.panning) {
      this.drag = "view";
      this.stage.dataset.cursor = "grabbing";
      event.preventDefault();
    } else if (event.button === 0 && this.drag === null) {
      const { settings } = this.editor;
      if (event.altKey) return this.tools.pick(this.pixel(event));
      if (settings.tool === "polygon" && event.detail > 1) return;
      this.drag = "tool";
      this.tools.down(this.pixel(event));
    }
  }

  /** @param {PointerEvent} event */
  move(event) {
    const before = this.touches.get(event.pointerId);
    if (before) {
      const now = this.place(event);
      this.touches.set(event.pointerId, now);
      if (this.touches.size === 2) return this.pinch(event.pointerId, before, now);
    }
    if (this.drag === "view" && !before) {
      this.editor.view.pan(event.movementX * this.screen.ratio, event.movementY * this.screen.ratio);
      this.screen.moved();
      return;
    }
    // A fast stroke has more points than the screen has frames.
    const events = this.drag === "tool" ? event.getCoalescedEvents?.() ?? [] : [];
    for (const one of events.length ? events : [event]) this.tools.move(this.pixel(one));
    this.editor.tell("hovered");
  }

  /** @param {PointerEvent} event */
  up(event) {
    this.touches.delete(event.pointerId);
    if (this.drag === "tool") this.tools.up();
    if (this.touches.size === 0) this.drag = null;
    this.stage.dataset.cursor = this.panning ? "grab" : "";
  }

  leave() {
    if (this.drag) return;
    this.tools.hover = null;
    this.tools.region = null;
    this.screen.redraw("cursor");
    this.editor.tell("hovered");
  }

  /** @param {number} id @param {{x: number, y: number}} before @param {{x: number, y: number}} now */
  pinch(id, before, now) {
    const other = [...this.touches].find(([one]) => one !== id)?.[1];
    if (!other) return;
    const was = Math.hypot(before.x - other.x, before.y - other.y);
    const is = Math.hypot(now.x - other.x, now.y - other.y);
    this.editor.view.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    if (was > 0) this.editor.view.zoom(is / was, (now.x + other.x) / 2, (now.y + other.y) / 2);
    this.screen.moved();
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const { x, y } = this.place(event);
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (event.shiftKey) this.editor.view.pan(-(event.deltaY || event.deltaX) * lines * this.screen.ratio, 0);
    else this.editor.view.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), x, y);
    this.screen.moved();
  }

  /** Hold the view, to drag it. @param {boolean} held */
  hold(held) {
    this.panning = held;
    if (this.drag !== "view") this.stage.dataset.cursor = held ? "grab" : "";
  }

  /** Move the cursor by keys. @param {number} dx @param {number} dy pixels of the image */
  step(dx, dy) {
    const { editor, tools } = this;
    if (!editor.image) return;
    const { view } = editor;
    const middle = view.toImage(view.screen.width / 2, view.screen.height / 2);
    const from = tools.hover ?? { x: Math.floor(middle.x), y: Math.floor(middle.y) };
    const x = Math.min(editor.image.width - 1, Math.max(0, from.x + dx));
    const y = Math.min(editor.image.height - 1, Math.max(0, from.y + dy));
    tools.move({ x, y });
    const seen = view.toScreen(x + 0.5, y + 0.5);
    if (seen.x < 0 || seen.y < 0 || seen.x > view.screen.width || seen.y > view.screen.height) {
      view.centre(x, y);
      this.screen.moved();
    }
    editor.tell("hovered");
  }

  /** Press the tool at the cursor by a key; tools that drag are let go by the next press. @param {boolean} shift */
  press(shift) {
    const { tools } = this;
    if (tools.pressed) return tools.up();
    const at = tools.hover;
    if (!at) return this.step(0, 0);
    tools.down({ x: at.x, y: at.y, shift });
    if (!["brush", "eraser", "lasso", "superpixel", "accept"].includes(tools.name)) tools.up();
  }
}
