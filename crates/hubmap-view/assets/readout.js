// Scale bar, magnification, and where the pointer is.

const MAX_BAR_PX = 150;

/** Keeps the numbers at the edge of the slide as they should be. */
export class Readout {
  constructor(viewer, stage) {
    this.viewer = viewer;
    this.part = (id) => stage.querySelector(`#${id}`);
    viewer.addHandler("update-viewport", () => this.drawScale());
    viewer.addHandler("resize", () => this.drawScale());
    viewer.container.addEventListener("pointermove", (event) => this.drawPointer(event));
    viewer.container.addEventListener("pointerleave", () => {
      this.part("pointer").textContent = "";
    });
  }

  open(info) {
    this.info = info;
    this.drawScale();
  }

  /** Pixels of the screen per pixel of the slide. */
  scale() {
    const { viewport } = this.viewer;
    return (viewport.getZoom(true) * viewport.getContainerSize().x) / this.info.width;
  }

  drawScale() {
    if (!this.info) {
      return;
    }
    const micronsPerPx = this.info.microns_per_px;
    const perScreenPx = (micronsPerPx ?? 1) / this.scale();
    const value = roundNumber(MAX_BAR_PX * perScreenPx);
    this.part("scale-bar").style.width = `${value / perScreenPx}px`;
    const unit = micronsPerPx ? (value >= 1000 ? `${value / 1000} mm` : `${value} µm`) : `${value} px`;
    // Microscopes and scanners call 0.25 µm per pixel 40×.
    const magnification = micronsPerPx ? ` · ${significant(10 / perScreenPx)}×` : ` · ${significant(100 * this.scale())} %`;
    this.part("scale-text").textContent = unit + magnification;
  }

  drawPointer(event) {
    if (!this.info || event.pointerType === "touch") {
      return;
    }
    const box = this.viewer.container.getBoundingClientRect();
    const at = new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
    const point = this.viewer.viewport.viewportToImageCoordinates(this.viewer.viewport.pointFromPixel(at, true));
    const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
    const isOn = x >= 0 && y >= 0 && x < this.info.width && y < this.info.height;
    this.part("pointer").textContent = isOn ? `x ${x}  y ${y} px` : "";
  }
}

/** The largest of 1, 2, 5, 10, 20 … that is not above `limit`. */
function roundNumber(limit) {
  const power = 10 ** Math.floor(Math.log10(limit));
  return power * ([5, 2].find((digit) => digit * power <= limit) ?? 1);
}

function significant(value) {
  return Number(value.toPrecision(value < 10 ? 2 : 3));
}
