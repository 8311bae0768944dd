// Keys, and the panel that lists them.

import { element } from "./layers.js";

/** Calls `actions` for keys, and fills the table of keys. */
export function listen(actions, table) {
  const keys = [
    [["+", "="], "+", "zoom in", () => actions.zoom(1.5)],
    [["-", "_"], "−", "zoom out", () => actions.zoom(1 / 1.5)],
    [["ArrowLeft"], "← ↑ → ↓", "move, faster with Shift", (event) => actions.pan(-1, 0, event.shiftKey)],
    [["ArrowRight"], null, null, (event) => actions.pan(1, 0, event.shiftKey)],
    [["ArrowUp"], null, null, (event) => actions.pan(0, -1, event.shiftKey)],
    [["ArrowDown"], null, null, (event) => actions.pan(0, 1, event.shiftKey)],
    [["0", "Home"], "0", "whole slide", () => actions.home()],
    [["1", "2", "3", "4", "5", "6"], "1 … 6", "switch a layer on or off", (event) => actions.toggle(Number(event.key))],
    [["["], "[ ]", "opacity of the layer switched last, less or more", () => actions.opacity(-1)],
    [["]"], null, null, () => actions.opacity(1)],
    [["n"], "n p", "next and previous object of the list", () => actions.step(1)],
    [["p"], null, null, () => actions.step(-1)],
    [["PageDown"], "PgDn PgUp", "next and previous slide", () => actions.slide(1)],
    [["PageUp"], null, null, () => actions.slide(-1)],
    [["f"], "f", "full screen", () => actions.fullScreen()],
    [["b"], "b", "show or hide the panel", () => actions.panel()],
    [["Escape"], "Esc", "select nothing", () => actions.clear()],
    [["?"], "?", "this list", () => actions.help()],
  ];
  for (const [, shown, what] of keys.filter(([, shown]) => shown !== null)) {
    const cell = element("td");
    cell.append(...shown.split(" ").map((key) => (key === "…" ? " … " : element("kbd", { textContent: key }))));
    const row = element("tr");
    row.append(cell, element("td", { textContent: what }));
    table.append(row);
  }
  document.addEventListener("keydown", (event) => {
    const isTyped = event.ctrlKey || event.metaKey || event.altKey;
    // A list or slider that has the focus keeps its own keys.
    const own = { SELECT: true, INPUT: event.key.startsWith("Arrow") || event.key === "Home" || event.key.startsWith("Page") };
    if (isTyped || own[event.target.tagName] || document.querySelector("dialog[open]")) {
      return;
    }
    const found = keys.find(([names]) => names.includes(event.key.length === 1 ? event.key.toLowerCase() : event.key));
    if (found) {
      event.preventDefault();
      found[3](event);
    }
  });
}
