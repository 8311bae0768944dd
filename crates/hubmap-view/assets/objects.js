// The list of objects, and the one that is selected.

import { element } from "./layers.js";
import { STYLES } from "./outlines.js";

const ROW_PX = 32;

const ORDERS = {
  number: (a, b) => a.number - b.number,
  "area-down": (a, b) => b.area_px - a.area_px,
  "area-up": (a, b) => a.area_px - b.area_px,
  // Objects without a probability, such as true ones, come last either way.
  "probability-down": (a, b) => (b.probability ?? -1) - (a.probability ?? -1),
  "probability-up": (a, b) => (a.probability ?? 2) - (b.probability ?? 2),
};

/** The style of an object of a set. */
function styleOf(set, object) {
  return object.agreement === null || (set === "truth" && object.agreement === "matched") ? set : object.agreement;
}

/** Objects of one slide: all of them, those listed, and the selected one. */
export class ObjectList {
  /** `selected` hears of an object that is to be shown, `changed` of other objects being listed. */
  constructor(section, { selected, changed }) {
    this.part = (id) => section.querySelector(`#${id}`);
    this.section = section;
    this.heard = { selected, changed };
    this.all = { predicted: [], truth: [] };
    this.listed = [];
    this.hidden = new Set();
    this.current = null;
    this.part("sort").addEventListener("change", () => this.update());
    this.part("previous-object").addEventListener("click", () => this.step(-1));
    this.part("next-object").addEventListener("click", () => this.step(1));
    const list = this.part("list");
    list.addEventListener("scroll", () => this.drawRows());
    new ResizeObserver(() => this.drawRows()).observe(list);
    list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) {
        this.select(this.listed[row.dataset.place]);
      }
    });
    list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        event.stopPropagation();
        this.step(step);
      }
    });
  }

  /** Lists the objects of a slide. */
  open(info, { predicted, truth }) {
    this.info = info;
    this.current = null;
    this.hidden.clear();
    const entries = (set, objects) =>
      (objects ?? []).map((object, place) => ({ ...object, set, place, style: styleOf(set, object) }));
    this.all = { predicted: entries("predicted", predicted), truth: entries("truth", truth) };
    this.section.hidden = predicted === null && truth === null;
    this.drawFilters();
    this.update();
    this.describe();
  }

  /** The style in which an object's outline is drawn, or null if it is filtered out. */
  outlineStyle(set, place) {
    const style = this.all[set]?.[place]?.style ?? set;
    return this.hidden.has(style) ? null : style;
  }

  /** One of the objects that match, and those without a partner: what there is to look at, once each. */
  update() {
    // A true object that is matched is the same place as its predicted one.
    const isListed = (object) =>
      !this.hidden.has(object.style) && !(object.set === "truth" && object.agreement === "matched");
    const objects = [...this.all.predicted, ...this.all.truth].filter(isListed);
    this.listed = objects.sort(ORDERS[this.part("sort").value]);
    const [shown, all] = [this.listed.length, this.all.predicted.length];
    this.part("object-count").textContent = shown === all ? String(all) : `${shown} listed`;
    this.part("list-space").style.height = `${this.listed.length * ROW_PX}px`;
    this.drawRows();
  }

  drawFilters() {
    const counts = new Map();
    for (const { style } of [...this.all.predicted, ...this.all.truth]) {
      counts.set(style, (counts.get(style) ?? 0) + 1);
    }
    const styles = ["matched", "false", "missed", "predicted", "truth"].filter((style) => counts.has(style));
    // A single kind needs no filter.
    this.part("filters").replaceChildren(
      ...(styles.length > 1 ? styles.map((style) => this.filter(style, counts.get(style))) : []),
    );
  }

  filter(style, count) {
    const button = element("button", { type: "button", title: `Show or hide ${STYLES[style].label} objects` });
    button.setAttribute("aria-pressed", "true");
    button.dataset.style = style;
    button.append(dot(style), `${count} ${STYLES[style].label}`);
    button.addEventListener("click", () => {
      const hide = !this.hidden.has(style);
      this.hidden[hide ? "add" : "delete"](style);
      button.setAttribute("aria-pressed", String(!hide));
      this.update();
      this.heard.changed();
    });
    return button;
  }

  /** Rows that are in view; thousands of others are not made. */
  drawRows() {
    const list = this.part("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - 4);
    const n = Math.ceil(list.clientHeight / ROW_PX) + 8;
    const rows = this.listed.slice(first, first + n).map((object, i) => this.row(object, first + i));
    this.part("list-space").replaceChildren(...rows);
  }

  row(object, place) {
    const row = element("div", { className: "row", id: `object-${place}` });
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(object === this.current));
    row.dataset.place = place;
    row.style.top = `${place * ROW_PX}px`;
    const name = element("span", { textContent: `#${object.number}` });
    name.append(element("span", { className: "quiet", textContent: ` ${STYLES[object.style].label}` }));
    const area = element("span", { textContent: this.area(object) });
    const probability = element("span", { textContent: object.probability?.toFixed(3) ?? "–" });
    row.append(dot(object.style), name, area, probability);
    return row;
  }

  /** Area in the unit that the slide allows. */
  area({ area_px: areaPx }) {
    const { microns_per_px: micronsPerPx } = this.info;
    return micronsPerPx ? `${grouped(areaPx * micronsPerPx ** 2)} µm²` : `${grouped(areaPx)} px`;
  }

  /** Selects an object and shows it, unless `show` is false. */
  select(object, show = true) {
    if (!object) {
      return;
    }
    this.current = object;
    this.describe();
    this.scrollToCurrent();
    this.heard.selected(object, show);
  }

  /** Selects by set and place among all objects. */
  selectAt({ set, place }, show) {
    this.select(this.all[set]?.[place], show);
  }

  /** Goes `by` objects on in the list, round its ends. */
  step(by) {
    const n = this.listed.length;
    const at = this.listed.indexOf(this.current);
    this.select(this.listed[at < 0 ? (by > 0 ? 0 : n - 1) : (at + by + n) % n]);
  }

  clear() {
    this.current = null;
    this.describe();
    this.drawRows();
  }

  scrollToCurrent() {
    const list = this.part("list");
    const place = this.listed.indexOf(this.current);
    if (place >= 0) {
      const top = place * ROW_PX;
      if (top < list.scrollTop || top + ROW_PX > list.scrollTop + list.clientHeight) {
        list.scrollTop = top - (list.clientHeight - ROW_PX) / 2;
      }
      list.setAttribute("aria-activedescendant", `object-${place}`);
    }
    this.drawRows();
  }

  describe() {
    const detail = this.part("detail");
    detail.replaceChildren();
    const object = this.current;
    if (object === null) {
      return;
    }
    detail.style.borderLeftColor = STYLES[object.style].colour;
    const [x0, y0, x1, y1] = object.bounds;
    const { microns_per_px: micronsPerPx } = this.info;
    const facts = [
      ["Area", micronsPerPx ? `${this.area(object)} (${grouped(object.area_px)} px)` : this.area(object)],
      // The diameter of a circle of the same area.
      ["Diameter", length(2 * Math.sqrt(object.area_px / Math.PI), micronsPerPx)],
      ["Probability", object.probability?.toFixed(4) ?? null],
      ["Matches", object.partner === null ? null : `true object #${object.partner}`],
      ["Centre", `${Math.round(object.centre[0])}, ${Math.round(object.centre[1])} px`],
      ["Extent", `${x1 - x0} × ${y1 - y0} px`],
    ];
    const list = element("dl");
    for (const [name, value] of facts.filter(([, value]) => value !== null)) {
      list.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
    }
    const of = object.set === "truth" ? "true" : "predicted";
    const agreement = object.agreement === null ? "" : `, ${object.agreement}`;
    detail.append(element("h3", { textContent: `Object #${object.number}, ${of}${agreement}` }), list);
  }
}

function dot(style) {
  const dot = element("span", { className: STYLES[style].dash ? "dot dashed" : "dot" });
  dot.style.borderColor = STYLES[style].colour;
  return dot;
}

function grouped(value) {
  return Math.round(value).toLocaleString("en-US").replaceAll(",", "\u202f");
}

/** A length in pixels of the slide, in the unit that people read most easily. */
export function length(px, micronsPerPx) {
  if (!micronsPerPx) {
    return `${grouped(px)} px`;
  }
  const microns = px * micronsPerPx;
  return microns >= 1000 ? `${(microns / 1000).toFixed(2)} mm` : `${microns.toFixed(microns < 10 ? 2 : 0)} µm`;
}
