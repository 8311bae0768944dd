// Outlines drawn over the slide, with as many vertices as a zoom shows.

import { integers } from "./server.js";

const MAX_SCALE = 8;
// More objects than these in view have thin lines without edges and dashes, which would only run together.
const CROWD = 1000;
const PER_PATH = 64;

/** Colours and dashes by what an object is. */
export const STYLES = {
  predicted: { colour: "#00e5ff", label: "predicted" },
  matched: { colour: "#21e06b", label: "matched" },
  false: { colour: "#ff8a00", label: "false" },
  truth: { colour: "#2b59ff", label: "true", dash: [6, 4] },
  missed: { colour: "#ff2d6f", label: "missed", dash: [6, 4] },
  tissue: { colour: "#ffd400", label: "tissue", dash: [3, 5] },
};

/** Reads rings as the server packs them: for each polygon its rings, as parts of one array. */
function unpack(words) {
  const polygons = [];
  let at = 1;
  for (let i = 0; i < words[0]; i += 1) {
    const rings = [];
    let nRings = words[at];
    at += 1;
    for (; nRings > 0; nRings -= 1) {
      const end = at + 1 + 2 * words[at];
      rings.push(words.subarray(at + 1, end));
      at = end;
    }
    polygons.push({ rings, bounds: boundsOf(rings[0] ?? []) });
  }
  return polygons;
}

function boundsOf(ring) {
  const bounds = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < ring.length; i += 2) {
    bounds[0] = Math.min(bounds[0], ring[i]);
    bounds[1] = Math.min(bounds[1], ring[i + 1]);
    bounds[2] = Math.max(bounds[2], ring[i]);
    bounds[3] = Math.max(bounds[3], ring[i + 1]);
  }
  return bounds;
}

/** A canvas over OpenSeadragon with the outlines of the layers that are on. */
export class Outlines {
  constructor(viewer, layers, failed) {
    this.viewer = viewer;
    this.layers = layers;
    this.failed = failed;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "outlines";
    viewer.canvas.append(this.canvas);
    this.context = this.canvas.getContext("2d");
    this.sets = new Map();
    this.styleOf = () => null;
    this.selected = null;
    for (const event of ["update-viewport", "resize", "open"]) {
      viewer.addHandler(event, () => this.draw());
    }
  }

  /** Forgets the old slide; `styleOf(set, place)` names the style of an object, or null if it is not shown. */
  open(index, info, styleOf) {
    this.index = index;
    this.info = info;
    this.styleOf = styleOf;
    this.sets.clear();
    this.selected = null;
    this.draw();
  }

  /** Polygons of a set with the vertices that a scale needs, or the best that is there while they are fetched. */
  polygons(set, scale) {
    const scales = this.sets.get(set) ?? new Map();
    this.sets.set(set, scales);
    if (!scales.has(scale)) {
      scales.set(scale, null);
      const { index } = this;
      integers(`slides/${index}/outlines/${set}/${scale}.bin`)
        .then((words) => {
          scales.set(scale, unpack(words));
          if (index === this.index) {
            this.draw();
          }
        })
        .catch((error) => this.failed(error.message));
    }
    if (scales.get(scale)) {
      return scales.get(scale);
    }
    const there = [...scales].filter(([, polygons]) => polygons).sort(([a], [b]) => Math.abs(a - scale) - Math.abs(b - scale));
    return there[0]?.[1] ?? [];
  }

  /** Pixels of the screen per pixel of the slide, and where the slide's corner is. */
  transform() {
    const { viewport } = this.viewer;
    const scale = (viewport.getZoom(true) * viewport.getContainerSize().x) / this.info.width;
    const corner = viewport.pixelFromPoint(viewport.imageToViewportCoordinates(0, 0), true);
    return { scale, x: corner.x, y: corner.y };
  }

  draw() {
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.info || this.viewer.world.getItemCount() === 0) {
      return;
    }
    const view = this.transform();
    // Half a pixel of the screen is as good as exact.
    const scale = Math.max(0, Math.min(MAX_SCALE, Math.floor(Math.log2(1 / view.scale) / 2) * 2));
    for (const set of ["tissue", "truth", "predicted"]) {
      if (this.layers.isOn(set)) {
        this.drawSet(set, this.polygons(set, scale), view, [width, height]);
      }
    }
  }

  drawSet(set, polygons, view, [width, height]) {
    const { context } = this;
    const [left, top] = [-view.x / view.scale, -view.y / view.scale];
    const [right, bottom] = [left + width / view.scale, top + height / view.scale];
    const byStyle = new Map();
    polygons.forEach((polygon, place) => {
      const [x0, y0, x1, y1] = polygon.bounds;
      const style = set === "tissue" ? "tissue" : this.styleOf(set, place);
      if (style !== null && x1 >= left && x0 <= right && y1 >= top && y0 <= bottom) {
        if (!byStyle.has(style)) {
          byStyle.set(style, []);
        }
        byStyle.get(style).push(polygon);
      }
    });
    context.globalAlpha = this.layers.opacity(set);
    context.lineJoin = "round";
    for (const [style, shown] of byStyle) {
      const { colour, dash } = STYLES[style];
      const isCrowded = shown.length > CROWD;
      const paths = pathsOf(shown, view);
      if (!isCrowded) {
        // A dark edge, so that lines stand out from any stain.
        context.setLineDash([]);
        paths.forEach((path) => this.stroke(path, "rgb(0 0 0 / 45%)", dash ? 3.2 : 4));
      }
      context.setLineDash(isCrowded ? [] : (dash ?? []));
      paths.forEach((path) => this.stroke(path, colour, isCrowded ? 1.2 : 2.2));
    }
    if (this.selected?.set === set && polygons[this.selected.place]) {
      const [path] = pathsOf([polygons[this.selected.place]], view);
      context.setLineDash([]);
      context.globalAlpha = 1;
      const { colour, dash } = STYLES[this.styleOf(set, this.selected.place) ?? set];
      this.stroke(path, "rgb(0 0 0 / 60%)", 8);
      this.stroke(path, "#fff", 6);
      context.setLineDash(dash ?? []);
      this.stroke(path, colour, 2.6);
    }
    context.globalAlpha = 1;
  }

  stroke(path, colour, width) {
    this.context.strokeStyle = colour;
    this.context.lineWidth = width;
    this.context.stroke(path);
  }

  /** The smallest shown object around a point of the slide: `{set, place}`, or null. */
  hit(x, y) {
    const found = [];
    for (const set of ["predicted", "truth"].filter((set) => this.layers.isOn(set))) {
      const scales = [...(this.sets.get(set) ?? [])].filter(([, polygons]) => polygons);
      const finest = scales.sort(([a], [b]) => a - b)[0]?.[1] ?? [];
      finest.forEach(({ rings, bounds }, place) => {
        const isNear = x >= bounds[0] && x <= bounds[2] && y >= bounds[1] && y <= bounds[3];
        if (isNear && this.styleOf(set, place) !== null && isInside(rings, x, y)) {
          found.push({ set, place, area: (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]) });
        }
      });
    }
    // Of a pair that matches, the predicted one: it came first and sorting keeps the order of equals.
    return found.sort((a, b) => a.area - b.area)[0] ?? null;
  }
}

/** Paths of a few polygons each, which are drawn faster than one of thousands. */
function pathsOf(polygons, { scale, x, y }) {
  const paths = [];
  let path = null;
  for (const [i, { rings, bounds }] of polygons.entries()) {
    if (i % PER_PATH === 0) {
      path = new Path2D();
      paths.push(path);
    }
    if ((bounds[2] - bounds[0]) * scale < 3 && (bounds[3] - bounds[1]) * scale < 3) {
      // Too small for an outline: a dot.
      path.rect(bounds[0] * scale + x - 1, bounds[1] * scale + y - 1, 2, 2);
      continue;
    }
    for (const ring of rings) {
      for (let i = 0; i < ring.length; i += 2) {
        const [px, py] = [ring[i] * scale + x, ring[i + 1] * scale + y];
        if (i === 0) {
          path.moveTo(px, py);
        } else {
          path.lineTo(px, py);
        }
      }
      path.closePath();
    }
  }
  return paths;
}

/** The even-odd rule over all rings. */
function isInside(rings, x, y) {
  let inside = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
      const [x0, y0, x1, y1] = [ring[i], ring[i + 1], ring[j], ring[j + 1]];
      if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) {
        inside = !inside;
      }
    }
  }
  return inside;
}
