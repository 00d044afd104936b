// Curves of a training as SVG: loss and score by epoch, of the rows that are fit and of those that are chosen by.

import { make } from "./faces.js";

const WIDTH = 400;
const HEIGHT = 230;
const LEFT = 48;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 34;
const ROLES = ["fit", "choose"];
const MEANING = { fit: "fit: the rows that it learns from", choose: "choose: the rows by which the best epoch is chosen" };

function draw(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Some round numbers from `low` to `high`.
export function ticks(low, high, most, least = 0) {
  const rough = Math.max(least, (high - low) / most) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) found.push(n * step);
  return { step, found };
}

function panel(label, key, { epochs, percent, higher }, last) {
  const scale = key === "score" && percent ? 100 : 1;
  const better = key === "score" && higher ? Math.max : Math.min;
  const values = Object.fromEntries(
    ROLES.map((role) => [
      role,
      epochs.map((one) => [one.number, one[`${role}_${key}`]]).filter(([, value]) => value !== null),
    ]),
  );
  const all = ROLES.flatMap((role) => values[role].map(([, value]) => scale * value));
  if (!all.length) return make("p", { textContent: `There is no ${label} yet.` });
  let low = Math.min(...all);
  let high = Math.max(...all);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  low -= room;
  high += room;
  const x = (epoch) => LEFT + ((WIDTH - LEFT - RIGHT) * (epoch - 1)) / Math.max(last - 1, 1);
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (value - low)) / (high - low);

  const best = values.choose.length ? better(...values.choose.map(([, value]) => value)) : null;
  const at = values.choose.find(([, value]) => value === best);
  const digits = scale === 100 ? 2 : 3;
  const told = (value) => `${(scale * value).toFixed(digits)}${scale === 100 ? " %" : ""}`;
  const now = ROLES.filter((role) => values[role].length).map((role) => `${role} ${told(values[role].at(-1)[1])}`);
  const text = `${label} after epoch ${epochs.at(-1).number}: ${now.join(", ")}${at ? `; best on choose ${told(at[1])} after epoch ${at[0]}` : ""}`;

  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${label} by epoch`, class: "curve" });
  const { step, found } = ticks(low, high, 5);
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  for (const value of found) {
    svg.append(draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(places)));
  }
  for (const epoch of ticks(1, Math.max(last, 2), 8, 1).found) {
    svg.append(draw("text", { x: x(epoch), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, epoch));
  }
  svg.append(draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "epoch"));
  for (const role of ROLES) {
    const points = values[role].map(([epoch, value]) => [x(epoch), y(scale * value)]);
    svg.append(draw("polyline", { points: points.map((point) => point.join(",")).join(" "), class: role }));
    // A line of one point isn't seen, and the newest is what is looked for.
    for (const [cx, cy] of points.slice(-1)) svg.append(draw("circle", { cx, cy, r: 3.5, class: role }));
  }
  if (at) svg.append(draw("circle", { cx: x(at[0]), cy: y(scale * at[1]), r: 7, class: "best" }));
  const title = make("h4", { textContent: scale === 100 ? `${label}, %` : label });
  return make("figure", { className: "panel" }, title, svg, make("figcaption", { textContent: `${text}.` }));
}

export function curves(curve, epochs) {
  const done = curve.epochs.at(-1).number;
  // Room for what is to come, but not so much that what is there can't be seen.
  const last = Math.max(done, Math.min(epochs ?? 0, Math.max(10, 4 * done)));
  const legend = make(
    "p",
    { className: "legend" },
    ...ROLES.map((role) => make("span", { className: role, textContent: MEANING[role] })),
    make("span", { className: "best", textContent: "best on choose" }),
  );
  const panels = [panel("loss", "loss", curve, last), panel(curve.score, "score", curve, last)];
  return [legend, make("div", { className: "panels" }, ...panels)];
}
