// Pictures and outlines that lie over one another, with a switch and a slider each.

/** All layers from the lowest to the highest; the place is the key that toggles it. */
export const LAYERS = [
  { id: "slide", label: "Slide", kind: "tiles", format: "jpeg", opacity: 1, on: true, colour: "#e7a9c4" },
  { id: "mask", label: "Predicted mask", kind: "tiles", format: "png", opacity: 0.35, on: false, colour: "#0072b2" },
  { id: "probability", label: "Probability", kind: "tiles", format: "png", opacity: 0.6, on: false, colour: null },
  { id: "predicted", label: "Predicted outlines", kind: "outlines", opacity: 1, on: true, colour: "#00e5ff", compared: halves("#21e06b", "#ff8a00") },
  { id: "truth", label: "True outlines", kind: "outlines", opacity: 1, on: true, colour: "#2b59ff", compared: halves("#2b59ff", "#ff2d6f") },
  { id: "tissue", label: "Tissue", kind: "outlines", opacity: 1, on: false, colour: "#ffd400" },
];

/** The colours of objects with and without a counterpart. */
function halves(first, second) {
  return `linear-gradient(90deg, ${first} 50%, ${second} 50%)`;
}

/** The layers of one slide in OpenSeadragon and in the panel. */
export class Layers {
  /** `changed` hears of everything that outlines must be drawn anew for. */
  constructor(viewer, panel, changed) {
    this.viewer = viewer;
    this.panel = panel;
    this.changed = changed;
    this.states = new Map(LAYERS.map((layer) => [layer.id, { on: layer.on, opacity: layer.opacity }]));
    this.threshold = 0;
    this.active = "predicted";
    this.items = new Map();
  }

  /** Shows the layers of a slide; resolves when its lowest one is there. */
  async open(index, info, heat) {
    this.index = index;
    this.info = info;
    this.heat = heat;
    this.items.clear();
    this.viewer.close();
    this.viewer.world.removeAll();
    const tiles = this.present().filter((layer) => layer.kind === "tiles");
    for (const [place, layer] of tiles.entries()) {
      await this.add(layer, place);
    }
    this.drawPanel();
  }

  /** Layers that the slide has. */
  present() {
    return LAYERS.filter(({ id }) => this.info.layers.includes(id) || this.info.outlines.includes(id));
  }

  isOn(id) {
    return this.states.get(id).on && this.present().some((layer) => layer.id === id);
  }

  opacity(id) {
    return this.states.get(id).opacity;
  }

  add(layer, place) {
    const { info } = this;
    const base = `slides/${this.index}/${layer.id}_files`;
    const query = layer.id === "probability" && this.threshold > 0 ? `?threshold=${this.threshold}` : "";
    const tileSource = {
      width: info.width,
      height: info.height,
      tileSize: info.tile_px,
      tileOverlap: info.overlap_px,
      // What fits into one tile is small enough.
      minLevel: Math.max(0, Math.min(info.max_level, 9)),
      maxLevel: info.max_level,
      getTileUrl: (level, x, y) => `${base}/${level}/${x}_${y}.${layer.format}${query}`,
    };
    return new Promise((resolve, reject) => {
      this.viewer.addTiledImage({
        tileSource,
        index: place,
        opacity: this.shownOpacity(layer.id),
        success: ({ item }) => {
          this.items.set(layer.id, item);
          resolve(item);
        },
        error: ({ message }) => reject(new Error(message)),
      });
    });
  }

  shownOpacity(id) {
    const { on, opacity } = this.states.get(id);
    return on ? opacity : 0;
  }

  /** Switches a layer on or off. */
  toggle(id, on = !this.states.get(id).on) {
    this.states.get(id).on = on;
    this.active = id;
    this.apply(id);
  }

  setOpacity(id, opacity) {
    this.states.get(id).opacity = Math.min(1, Math.max(0, opacity));
    this.active = id;
    this.apply(id);
  }

  /** The opacity of the layer that was changed last, by steps of a tenth. */
  changeOpacity(steps) {
    const state = this.states.get(this.active);
    state.on = true;
    this.setOpacity(this.active, Math.round((state.opacity + steps / 10) * 10) / 10);
  }

  /** Leaves out probabilities of up to `threshold`, 0 to 1. */
  async setThreshold(threshold) {
    this.threshold = Math.round(threshold * 255);
    const layer = LAYERS.find(({ id }) => id === "probability");
    const old = this.items.get(layer.id);
    if (!old || this.replacing) {
      return;
    }
    // The old picture stays until the new one is there; thresholds that come meanwhile are caught up with.
    this.replacing = true;
    try {
      let shown;
      do {
        shown = this.threshold;
        const before = this.items.get(layer.id);
        await this.add(layer, this.viewer.world.getIndexOfItem(before) + 1);
        this.viewer.world.removeItem(before);
      } while (shown !== this.threshold);
    } finally {
      this.replacing = false;
    }
  }

  apply(id) {
    this.items.get(id)?.setOpacity(this.shownOpacity(id));
    this.updatePanel();
    this.changed();
  }

  drawPanel() {
    const notes = this.info.notes.map((textContent) => element("p", { className: "note", textContent }));
    this.panel.replaceChildren(...this.present().map((layer) => this.row(layer)), ...notes);
    this.updatePanel();
  }

  row(layer) {
    const key = LAYERS.indexOf(layer) + 1;
    const row = element("div", { className: "layer" });
    row.dataset.layer = layer.id;
    const box = element("input", { type: "checkbox", id: `layer-${layer.id}` });
    box.addEventListener("change", () => this.toggle(layer.id, box.checked));
    const swatch = element("span", { className: layer.kind === "outlines" ? "swatch outline" : "swatch" });
    const both = this.info.outlines.includes("predicted") && this.info.outlines.includes("truth");
    swatch.style.background = (both && layer.compared) || layer.colour || gradient(this.heat);
    const name = element("label", { className: "name", htmlFor: box.id, textContent: layer.label });
    name.append(element("kbd", { textContent: key }));
    const slider = element("input", { type: "range", min: 0, max: 100, step: 1 });
    slider.setAttribute("aria-label", `Opacity of ${layer.label}`);
    slider.title = "Opacity ([ and ])";
    slider.addEventListener("input", () => {
      this.states.get(layer.id).on = true;
      this.setOpacity(layer.id, slider.value / 100);
    });
    row.append(box, swatch, name, slider);
    if (layer.id === "probability") {
      row.append(this.thresholdRow());
    }
    return row;
  }

  thresholdRow() {
    const label = element("label", { htmlFor: "threshold" });
    const slider = element("input", { type: "range", id: "threshold", min: 0, max: 0.99, step: 0.01 });
    slider.value = this.threshold / 255;
    const say = () => {
      label.textContent = slider.value > 0 ? `Only above ${Number(slider.value).toFixed(2)}` : "Threshold off";
    };
    say();
    slider.addEventListener("input", () => {
      say();
      this.setThreshold(Number(slider.value));
    });
    const canvas = element("canvas", { width: 256, height: 1 });
    const context = canvas.getContext("2d");
    this.heat.forEach(([r, g, b], i) => {
      context.fillStyle = `rgb(${r} ${g} ${b})`;
      context.fillRect(Math.floor((i * 256) / this.heat.length), 0, 256, 1);
    });
    const legend = element("div", { className: "legend" });
    const ends = element("span");
    ends.append(...["0", "0.5", "1"].map((textContent) => element("b", { textContent })));
    legend.append(canvas, ends);
    const rows = element("div", { className: "threshold" });
    rows.append(label, slider, legend);
    return rows;
  }

  updatePanel() {
    for (const row of this.panel.querySelectorAll(".layer")) {
      const state = this.states.get(row.dataset.layer);
      row.classList.toggle("active", row.dataset.layer === this.active);
      row.querySelector("input[type=checkbox]").checked = state.on;
      row.querySelector("input[type=range]").value = Math.round(state.opacity * 100);
    }
  }
}

function gradient(heat) {
  return `linear-gradient(90deg, ${heat.map(([r, g, b]) => `rgb(${r} ${g} ${b})`).join(", ")})`;
}

/** A new element with some properties. */
export function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}
