// A picture with a box for each face, and bars for the one that is chosen.

import { predict } from "./api.js";

export function percent(share) {
  return `${(100 * share).toFixed(0)} %`;
}

export function label(face) {
  const told = `${face.top} ${percent(shares(face)[face.top])}`;
  return face.uncertain ? `uncertain (${told})` : told;
}

export function shares(face) {
  return face.smoothed ?? face.probabilities;
}

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function bars(face) {
  const list = make("dl", { className: "bars" });
  list.setAttribute("aria-label", `Face ${face.face}: probabilities`);
  for (const [name, share] of Object.entries(shares(face))) {
    const meter = make("meter", { min: 0, max: 1, value: share, textContent: percent(share) });
    meter.setAttribute("aria-label", `${name} ${percent(share)}`);
    // The meter has told it to who listens.
    const number = make("dd", { className: "share", textContent: percent(share) });
    number.setAttribute("aria-hidden", "true");
    list.append(make("dt", { textContent: name }), make("dd", {}, meter), number);
  }
  return list;
}

// The 68 points of the faces that have them.
function dots(faces, width, height) {
  const all = faces.filter(({ points }) => points);
  if (!all.length) return [];
  const drawing = svg("svg", { class: "points", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const { points, size } of all) {
    // A pixel's centre is half a pixel from its edge.
    drawing.append(...points.map(([x, y]) => svg("circle", { cx: x + 0.5, cy: y + 0.5, r: 0.016 * size })));
  }
  return [drawing];
}

export function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  return element;
}

// Over the picture in a stage, of so many pixels; again for each new answer of a camera, with the same face chosen.
export function overlay(stage, faces, width, height, place = null) {
  const pressed = [...stage.querySelectorAll(".box")].findIndex((box) => box.getAttribute("aria-pressed") === "true");
  const chosen = place ?? Math.max(0, Math.min(pressed, faces.length - 1));
  const focused = [...stage.querySelectorAll(".box")].indexOf(document.activeElement);
  stage.querySelectorAll(".box, .which, .bars, .points").forEach((old) => old.remove());
  const told = faces.filter((face) => face.box);
  const boxes = told.map((face, place) => {
    const [left, top, wide, high] = face.box;
    const number = told.length > 1 ? [make("b", { textContent: face.face }), " "] : [];
    const text = make("span", {}, ...number, make("span", { textContent: label(face) }));
    const box = make("button", { type: "button", className: "box" }, text);
    box.setAttribute("aria-label", `Face ${face.face}: ${label(face)}`);
    box.setAttribute("aria-pressed", String(place === chosen));
    box.classList.toggle("high", top < 0.1 * height);
    box.classList.toggle("right", left + wide / 2 > width / 2);
    box.style.left = `${(100 * left) / width}%`;
    box.style.top = `${(100 * top) / height}%`;
    box.style.width = `${(100 * wide) / width}%`;
    box.style.height = `${(100 * high) / height}%`;
    box.addEventListener("click", () => {
      overlay(stage, faces, width, height, place);
      stage.querySelectorAll(".box")[place].focus();
    });
    return box;
  });
  stage.querySelector(".picture").append(...dots(told, width, height), ...boxes);
  if (told[chosen]) {
    const panel = bars(told[chosen]);
    if (told.length > 1) {
      // Over the picture they would cover other faces.
      panel.classList.add("below");
      const which = `Face ${told[chosen].face} of ${told.length}. Choose another in the picture.`;
      stage.append(make("p", { className: "which", textContent: which }));
    }
    const [left, top, wide, high] = told[chosen].box;
    // On the side with more room.
    if (left + wide / 2 < width / 2) panel.style.left = `calc(${(100 * (left + wide)) / width}% + 8px)`;
    else panel.style.right = `calc(${100 - (100 * left) / width}% + 8px)`;
    if (top + high / 2 < height / 2) panel.style.top = `${Math.max(0, (100 * top) / height)}%`;
    else panel.style.bottom = `${Math.max(0, 100 - (100 * (top + high)) / height)}%`;
    stage.append(panel);
  }
  if (focused >= 0) boxes[focused]?.focus();
}

export function figure(name) {
  const picture = make("div", { className: "picture" });
  const stage = make("div", { className: "stage" }, picture);
  const caption = make("figcaption", { textContent: `${name}: …` });
  const element = make("figure", {}, stage, caption);

  function tell(faces, model, seconds) {
    const image = stage.querySelector("img");
    const told = faces.filter((face) => face.box);
    const n = told.length === 1 ? "1 face" : `${told.length} faces`;
    const unsure = told.filter((face) => face.uncertain).map((face) => `face ${face.face} is uncertain (${face.uncertain})`);
    caption.textContent = [`${name}: ${told.length ? n : "no face"}, by ${model}, in ${seconds.toFixed(2)} s`, ...unsure].join("; ");
    if (image) overlay(stage, faces, image.naturalWidth, image.naturalHeight);
    else caption.append(" (the browser can't show this picture)");
  }

  return {
    element,
    // The rows of a file's faces, shown.
    async look(file, model, points) {
      const image = make("img", { alt: name, src: URL.createObjectURL(file) });
      picture.append(image);
      await image.decode().catch(() => image.remove());
      const began = performance.now();
      const answer = await predict(file, name, model, points);
      tell(answer.faces, answer.model, (performance.now() - began) / 1000);
      return answer.faces;
    },
    refuse(why) {
      caption.textContent = `${name}: ${why}`;
      caption.className = "wrong";
    },
    forget() {
      stage.querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
    },
  };
}
