// What all parts of the workspace view are made of.

import { picture } from "./api.js";
import { make, percent } from "./faces.js";

export function link(address, text) {
  return make("a", { href: address, textContent: text });
}

// Say how it goes, in the one place that is read aloud.
export function sayStatus(inside, text, wrong = false) {
  const status = inside.closest("main")?.querySelector("[role=status]");
  if (!status) return;
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

export function name(title) {
  document.title = `${title} – mien`;
}

export function sentence({ message, file, key, expected, nearest }) {
  const where = [file, key].filter(Boolean).join(": ");
  const told = expected ? `${message}; expected ${expected}` : message;
  return `${where ? `${where}: ` : ""}${told}${nearest ? `. Did you mean '${nearest}'?` : ""}`;
}

export function problems(list) {
  return list.map((problem) => make("p", { className: "wrong", textContent: sentence(problem) }));
}

// A table with rows of no more letters has room on a phone.
const SHORT = 46;

// Columns from number `right` on hold numbers; a cell is a text or an element. On a narrow screen each row of a table that
// has no room there is a block.
export function table(title, columns, rows, right = 1) {
  const head = make("tr", {}, ...columns.map((text) => make("th", { scope: "col", textContent: text })));
  const lines = rows.map((row) => {
    const cells = row.map((cell, place) => {
      const element = make(place ? "td" : "th", {}, cell);
      if (!place) element.scope = "row";
      element.dataset.label = columns[place];
      element.classList.toggle("text", place < right);
      element.classList.toggle("empty", cell === "");
      return element;
    });
    return make("tr", {}, ...cells);
  });
  head.querySelectorAll("th").forEach((cell, place) => cell.classList.toggle("text", place < right));
  const lengths = columns.map((text, place) => Math.max(text.length, ...rows.map((row) => (row[place].textContent ?? row[place]).length)));
  const short = lengths.reduce((sum, length) => sum + length, 0) <= SHORT;
  const inside = make("table", { className: short ? "rows short" : "rows" }, make("thead", {}, head), make("tbody", {}, ...lines));
  if (title) inside.prepend(make("caption", { textContent: title }));
  return scroller(inside, title || columns[0]);
}

export function printed({ title, columns, rows, right }) {
  return table(title, columns, rows, right);
}

// What may be wider than the screen, so that a keyboard can move it.
export function scroller(inside, label) {
  const region = make("div", { className: "scroll", tabIndex: 0 }, inside);
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", label);
  return region;
}

export function rowPath(dataset, split, id) {
  return `v1/workspace/datasets/${dataset}/image?${new URLSearchParams({ split, id })}`;
}

// A picture that comes when it comes; where it can't, its place says why.
export function shown(path, alt, signal) {
  const image = make("img", { alt });
  picture(path, signal).then(
    (url) => (image.src = url),
    (error) => !signal.aborted && image.replaceWith(make("span", { className: "wrong", textContent: error.message })),
  );
  return image;
}

export function thumb(dataset, row, lines, signal) {
  const image = shown(rowPath(dataset, row.split, row.id), `Row ${row.id} of ${row.split}`, signal);
  // A number and its sign stay on one line.
  const caption = make("figcaption", {}, ...lines.map((text) => make("span", { textContent: text.replaceAll(" %", "\u00a0%") })));
  return make("figure", { className: "thumb" }, image, caption);
}

export function surely(share) {
  return share === null ? "" : share > 0.995 || share < 0.005 ? `${(100 * share).toFixed(1)} %` : percent(share);
}

// Until the page is seen again, at least; ends early, with an error, when the part is left.
export function pause(milliseconds, signal) {
  return new Promise((go, fail) => {
    const seen = () => {
      if (document.hidden) document.addEventListener("visibilitychange", seen, { once: true });
      else go();
    };
    const timer = setTimeout(seen, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(new Error("left"));
    });
  });
}

// Other children for an element; a link that has the focus keeps it.
export function redraw(section, ...children) {
  const held = section.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  section.replaceChildren(...children);
  if (held) [...section.querySelectorAll("a")].find((one) => one.getAttribute("href") === held)?.focus();
}
