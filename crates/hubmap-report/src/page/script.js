"use strict";
// The page reads without this script: it only reads values out of charts and marks objects on slides.

const SVG = "http://www.w3.org/2000/svg";
const KEPT_DIGITS = 4;
// Rings are at least so small a part of a picture.
const LEAST_MARK_SHARE = 60;

function words(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(KEPT_DIGITS)));
}

for (const chart of document.querySelectorAll("svg[data-chart]")) {
  const { x: [low, high], box: [left, , width], label, series } = JSON.parse(chart.dataset.chart);
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const cursor = chart.querySelector(".cursor");
  const readout = chart.parentElement.querySelector(".readout");
  let at = -1;

  const show = (place) => {
    at = Math.max(0, Math.min(xs.length - 1, place));
    const x = xs[at];
    cursor.setAttribute("transform", `translate(${left + ((x - low) / (high - low)) * width} 0)`);
    cursor.removeAttribute("hidden");
    const values = [];
    for (const { name, points } of series) {
      const found = points.find((point) => point[0] === x);
      if (found) values.push(name ? `${name} ${words(found[1])}` : words(found[1]));
    }
    readout.textContent = `${label} ${words(x)}: ${values.join(" · ")}`;
  };

  if (xs.length === 0) continue;
  chart.addEventListener("pointermove", (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const x = low + ((place.x - left) / width) * (high - low);
    let nearest = 0;
    xs.forEach((value, i) => {
      if (Math.abs(value - x) < Math.abs(xs[nearest] - x)) nearest = i;
    });
    show(nearest);
  });
  chart.addEventListener("pointerleave", () => {
    cursor.setAttribute("hidden", "");
    readout.textContent = "";
  });
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(at < 0 && step < 0 ? xs.length - 1 : at + step);
  });
}

for (const link of document.querySelectorAll("a[data-mark]")) {
  link.addEventListener("click", () => {
    const [x, y, r] = link.dataset.mark.split(",").map(Number);
    const picture = document.querySelector(`${link.getAttribute("href")} .layers svg`);
    if (!picture) return;
    const { width, height } = picture.viewBox.baseVal;
    document.querySelectorAll(".mark").forEach((mark) => mark.replaceChildren());
    for (let i = 0; i < 2; i += 1) {
      const circle = document.createElementNS(SVG, "circle");
      const place = { cx: x, cy: y, r: Math.max(r, Math.max(width, height) / LEAST_MARK_SHARE) };
      for (const [name, value] of Object.entries(place)) circle.setAttribute(name, value);
      picture.querySelector(".mark").append(circle);
    }
  });
}
