// What each key does.

import { TOOLS } from "./tools.js";

/** @typedef {import("./main.js").App} App */
/** @typedef {import("./keys.js").Key} Key */

/** @param {App} app @returns {Key[]} */
export function keysOf(app) {
  const { editor, pointer, settings } = app;
  const middle = () => /** @type {const} */ ([editor.view.screen.width / 2, editor.view.screen.height / 2]);
  const size = (/** @type {number} */ factor) => app.set({ size: Math.min(512, Math.max(1, factor > 1 ? Math.ceil(settings.size * factor) : Math.floor(settings.size * factor))) });
  const arrows = (/** @type {KeyboardEvent} */ event) => {
    const far = event.shiftKey ? 10 : 1;
    pointer.step(event.key === "ArrowLeft" ? -far : event.key === "ArrowRight" ? far : 0, event.key === "ArrowUp" ? -far : event.key === "ArrowDown" ? far : 0);
  };
  return [
    ...TOOLS.map((tool) => ({ keys: tool.key, what: tool.label, group: "Tools", run: () => app.use(tool.name) })),
    { keys: "1–9", what: "Choose a class", group: "Classes", run: (event) => { const own = app.classes[Number(event.key) - 1]; if (own) app.choose(own.value); } },
    { keys: "u", what: "Paint only unlabelled pixels", group: "Classes", run: () => app.set({ onlyUnlabelled: !settings.onlyUnlabelled }) },
    { keys: "[, ]", what: "Smaller, larger brush", group: "Tools", run: (event) => size(event.key === "[" ? 0.85 : 1.18) },
    { keys: "Escape", what: "Give up the stroke or polygon", group: "Tools", run: () => app.tools.cancel() },
    { keys: "Backspace", what: "Take the last corner back", group: "Tools", run: () => { app.tools.path.pop(); app.screen.redraw("cursor"); } },
    { keys: "Ctrl+z", what: "Undo", group: "Changes", run: () => void app.turn("undo") },
    { keys: "Ctrl+Shift+z, Ctrl+y", what: "Redo", group: "Changes", run: () => void app.turn("redo") },
    { keys: "Space", what: "Hold and drag to move the view", group: "View", run: () => pointer.hold(true) },
    { keys: "+, -", what: "Zoom (also the wheel)", group: "View", run: (event) => app.look(() => editor.view.zoom(event.key === "-" ? 0.8 : 1.25, ...middle())) },
    { keys: "0", what: "Fit the image", group: "View", run: () => app.look(() => editor.view.fit()) },
    { keys: "Tab", what: "Hold to see the image alone", group: "View", run: () => app.peek(true) },
    { keys: "o", what: "Labels on or off", group: "View", run: () => app.set({ labels: !settings.labels }) },
    { keys: "h", what: "Suggestions on or off", group: "View", run: () => app.set({ suggestions: !settings.suggestions }) },
    { keys: "ArrowLeft, ArrowRight, ArrowUp, ArrowDown", what: "Move the cursor", group: "Without a mouse", run: arrows },
    { keys: "Shift+ArrowLeft, Shift+ArrowRight, Shift+ArrowUp, Shift+ArrowDown", what: "By 10 pixels", group: "Without a mouse", run: arrows },
    { keys: "Enter, Shift+Enter", what: "Press the tool, and let go", group: "Without a mouse", run: (event) => pointer.press(event.shiftKey) },
    { keys: "PageUp, PageDown", what: "Previous, next image", group: "Images", run: (event) => app.step(event.key === "PageUp" ? -1 : 1) },
    { keys: "n", what: "Next image without labels", group: "Images", run: () => app.nextUnlabelled() },
    { keys: "d", what: "Done, and next image", group: "Images", run: () => void app.setStatus("done") },
    { keys: "k", what: "Skip, and next image", group: "Images", run: () => void app.setStatus("skipped") },
    { keys: "?", what: "This list", group: "Images", run: () => app.help() },
  ];
}
