// The page: one slide at a time, with its layers, objects and address.

import { listen } from "./keys.js";
import { LAYERS, Layers, element } from "./layers.js";
import { ObjectList } from "./objects.js";
import { Outlines } from "./outlines.js";
import { Readout } from "./readout.js";
import { json, tileProblem } from "./server.js";

const part = (id) => document.getElementById(id);

const viewer = OpenSeadragon({
  element: part("viewer"),
  showNavigationControl: false,
  showNavigator: true,
  navigatorPosition: "TOP_RIGHT",
  navigatorSizeRatio: 0.16,
  navigatorBackground: "#fff",
  navigatorDisplayRegionColor: "#d0006f",
  animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.5,
  springStiffness: 9,
  maxZoomPixelRatio: 8,
  minZoomImageRatio: 0.7,
  visibilityRatio: 0.3,
  zoomPerClick: 1,
  gestureSettingsMouse: { dblClickToZoom: true, clickToZoom: false },
  imageLoaderLimit: 6,
  maxImageCacheCount: 400,
  preserveImageSizeOnResize: true,
  drawer: "canvas",
  // All pictures of a slide lie on the same place.
  silenceMultiImageWarnings: true,
  timeout: 120000,
});
// Keys are ours.
viewer.innerTracker.keyDownHandler = null;
viewer.innerTracker.keyHandler = null;

const page = { list: [], heat: [], index: -1, info: null, opening: 0, isSmooth: true };
const layers = new Layers(viewer, part("layers"), () => outlines.draw());
const outlines = new Outlines(viewer, layers, say);
const readout = new Readout(viewer, part("stage"));
const objects = new ObjectList(part("object-section"), {
  selected(object, show) {
    outlines.selected = { set: object.set, place: object.place };
    if (show) {
      showObject(object);
    }
    outlines.draw();
    remember();
  },
  changed: () => outlines.draw(),
});

/** A message that stays until it is closed; the same one is not said twice. */
function say(text) {
  const messages = part("messages");
  if ([...messages.children].some((message) => message.dataset.text === text)) {
    return;
  }
  const message = element("p", {});
  message.dataset.text = text;
  const close = element("button", { type: "button", textContent: "×", title: "Close" });
  close.setAttribute("aria-label", "Close this message");
  close.addEventListener("click", () => message.remove());
  message.append(element("span", { textContent: text }), close);
  messages.append(message);
  // The first ones are closest to the cause.
  [...messages.children].slice(4).forEach((message) => message.remove());
}

function busy(text) {
  part("busy").hidden = text === null;
  part("busy-text").textContent = text ?? "";
}

/** Opens a slide of the list; `place` is where to look, or nothing for the whole slide. */
async function openSlide(index, place = {}) {
  page.opening += 1;
  const { opening } = page;
  page.index = index;
  page.info = null;
  document.body.classList.add("without-slide");
  part("slides").selectedIndex = index;
  part("messages").replaceChildren();
  part("previous-slide").disabled = index === 0;
  part("next-slide").disabled = index === page.list.length - 1;
  document.title = `${page.list[index].id} – hubmap-view`;
  viewer.close();
  objects.open({}, { predicted: null, truth: null });
  layers.panel.replaceChildren();
  part("facts").textContent = "";
  busy("opening the slide");
  try {
    const info = await json(`slides/${index}/info.json`);
    if (opening !== page.opening) {
      return;
    }
    page.info = info;
    document.body.classList.remove("without-slide");
    part("facts").textContent = facts(info);
    info.problems.forEach(say);
    busy(info.n_levels > 1 ? "loading" : "loading; the file has no smaller copies of the slide, so a large one takes a while");
    await layers.open(index, info, page.heat);
    outlines.open(index, info, (set, place) => objects.outlineStyle(set, place));
    readout.open(info);
    goTo(place, true);
    if (info.outlines.includes("predicted") || info.outlines.includes("truth")) {
      await listObjects(index, info, place, opening);
    }
  } catch (error) {
    if (opening === page.opening) {
      busy(null);
      say(error.message);
    }
  }
}

async function listObjects(index, info, place, opening) {
  const lists = await json(`slides/${index}/objects.json`);
  if (opening !== page.opening) {
    return;
  }
  objects.open(info, lists);
  outlines.draw();
  const [set, number] = (place.object ?? "").split(":");
  if (objects.all[set]?.[number - 1]) {
    objects.selectAt({ set, place: number - 1 }, place.zoom === undefined);
  }
}

function facts(info) {
  const size = `${info.width} × ${info.height} px`;
  return [info.file, size, info.microns_per_px ? `${Number(info.microns_per_px.toPrecision(4))} µm/px` : "no µm/px stated"].join(" · ");
}

/** Moves the view to `{x, y, zoom}`: the pixel in the centre, and pixels of the screen per pixel of the slide. */
function goTo({ x, y, zoom }, immediately) {
  const { viewport } = viewer;
  if (![x, y, zoom].every(Number.isFinite) || zoom <= 0) {
    viewport.goHome(immediately);
    return;
  }
  viewport.zoomTo((zoom * page.info.width) / viewport.getContainerSize().x, null, immediately);
  viewport.panTo(viewport.imageToViewportCoordinates(x, y), immediately);
}

/** Shows an object with its surroundings: it takes up about a third of the view. */
function showObject({ bounds: [x0, y0, x1, y1], centre: [x, y] }) {
  const { viewport } = viewer;
  const { x: width, y: height } = viewport.getContainerSize();
  const zoom = Math.min(2, Math.min(width / (x1 - x0), height / (y1 - y0)) * 0.38);
  goTo({ x, y, zoom }, false);
}

/** The address names slide, view and object, so that it can be passed on. */
function remember() {
  if (page.info === null || viewer.world.getItemCount() === 0) {
    return;
  }
  const { viewport } = viewer;
  const centre = viewport.viewportToImageCoordinates(viewport.getCenter());
  const zoom = (viewport.getZoom() * viewport.getContainerSize().x) / page.info.width;
  const parts = [["slide", page.info.id], ["x", Math.round(centre.x)], ["y", Math.round(centre.y)], ["zoom", Number(zoom.toPrecision(4))]];
  if (objects.current) {
    parts.push(["object", `${objects.current.set}:${objects.current.number}`]);
  }
  history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
}

/** What the address asks for. */
function asked() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const value = (name) => (parts.has(name) ? Number(parts.get(name)) : undefined);
  const index = page.list.findIndex(({ id }) => id === parts.get("slide"));
  if (index < 0 && parts.has("slide")) {
    say(`there is no slide ${parts.get("slide")} here`);
  }
  const place = { x: value("x"), y: value("y"), zoom: value("zoom"), object: parts.get("object") };
  return { index: Math.max(0, index), place: index < 0 ? {} : place };
}

function followAddress() {
  const { index, place } = asked();
  if (index !== page.index || page.info === null) {
    openSlide(index, place);
  } else {
    goTo(place, false);
  }
}

const actions = {
  zoom(by) {
    viewer.viewport.zoomBy(by);
    viewer.viewport.applyConstraints();
  },
  pan(x, y, isFast) {
    const share = isFast ? 0.5 : 0.12;
    const { width, height } = viewer.viewport.getBounds();
    viewer.viewport.panBy(new OpenSeadragon.Point(x * width * share, y * height * share));
    viewer.viewport.applyConstraints();
  },
  home: () => viewer.viewport.goHome(),
  toggle(key) {
    const layer = LAYERS[key - 1];
    if (page.info && layers.present().includes(layer)) {
      layers.toggle(layer.id);
    }
  },
  opacity: (steps) => page.info && layers.changeOpacity(steps),
  step: (by) => objects.listed.length > 0 && objects.step(by),
  slide(by) {
    if (page.list[page.index + by]) {
      openSlide(page.index + by);
    }
  },
  fullScreen() {
    if (document.fullscreenElement) {
      document.exitFullscreen();
    } else {
      document.documentElement.requestFullscreen().catch(() => say("the browser refuses full screen"));
    }
  },
  panel: () => document.body.classList.toggle("without-panel"),
  clear() {
    objects.clear();
    outlines.selected = null;
    outlines.draw();
    remember();
  },
  help: () => part("help").showModal(),
};

function connect() {
  listen(actions, part("keys"));
  const click = (id, action) => part(id).addEventListener("click", action);
  click("zoom-in", () => actions.zoom(1.5));
  click("zoom-out", () => actions.zoom(1 / 1.5));
  click("home", actions.home);
  click("full-pixels", () => {
    const centre = viewer.viewport.viewportToImageCoordinates(viewer.viewport.getCenter());
    goTo({ x: centre.x, y: centre.y, zoom: 1 / (window.devicePixelRatio || 1) }, false);
  });
  click("full-screen", actions.fullScreen);
  click("toggle-panel", actions.panel);
  click("show-help", actions.help);
  click("previous-slide", () => actions.slide(-1));
  click("next-slide", () => actions.slide(1));
  part("slides").addEventListener("change", () => openSlide(part("slides").selectedIndex));
  viewer.addHandler("canvas-click", ({ quick, position }) => {
    if (quick && page.info) {
      const point = viewer.viewport.viewportToImageCoordinates(viewer.viewport.pointFromPixel(position));
      const found = outlines.hit(point.x, point.y);
      if (found) {
        objects.selectAt(found, false);
      } else {
        actions.clear();
      }
    }
  });
  viewer.addHandler("animation-finish", remember);
  // Where a pixel of the slide is several of the screen, it is a square of its own.
  viewer.addHandler("zoom", ({ zoom }) => {
    const isSmooth = page.info === null || (zoom * viewer.viewport.getContainerSize().x) / page.info.width < 3;
    if (isSmooth !== page.isSmooth) {
      page.isSmooth = isSmooth;
      viewer.drawer.setImageSmoothingEnabled(isSmooth);
    }
  });
  viewer.addHandler("tile-loaded", () => busy(null));
  viewer.addHandler("tile-load-failed", async ({ tile }) => {
    busy(null);
    const problem = await tileProblem(tile.getUrl());
    if (problem !== null) {
      say(problem);
    }
  });
  window.addEventListener("hashchange", followAddress);
}

async function start() {
  connect();
  busy("asking for the slides");
  try {
    const { version, slides, heat } = await json("slides.json");
    page.list = slides;
    page.heat = heat;
    const label = ({ id, is_predicted: isPredicted }) => (isPredicted ? `${id}  ●` : id);
    part("slides").replaceChildren(...slides.map((slide) => element("option", { textContent: label(slide) })));
    part("about").textContent = `hubmap-view ${version}, with OpenSeadragon ${OpenSeadragon.version.versionStr} (BSD licence). The address of this page keeps slide and view.`;
    const { index, place } = asked();
    await openSlide(index, place);
  } catch (error) {
    busy(null);
    say(error.message);
  }
}

// For scripts and for the console of the browser.
window.hubmapView = { viewer, layers, outlines, objects, actions, page };
start();
