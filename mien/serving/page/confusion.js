// The confusion matrix of a run; each cell opens the pictures of its rows.

import { get } from "./api.js";
import { make, percent } from "./faces.js";
import { scroller, surely, thumb } from "./parts.js";

export function confusions(run, role, signal) {
  const place = make("div", { className: "confusion" }, make("p", { textContent: "Reading the rows …" }));
  const path = `v1/workspace/runs/${run}`;
  get(`${path}/confusion?${new URLSearchParams({ role })}`, signal).then(
    (found) => place.replaceChildren(...matrix(found, path, signal)),
    (error) => !signal.aborted && place.replaceChildren(make("p", { className: "wrong", textContent: error.message })),
  );
  return place;
}

function matrix(found, path, signal) {
  const { classes, merged, matrix: counts } = found;
  const cells = make("section", { className: "cell" });
  const last = merged ? classes.length - 1 : classes.length;
  const head = make(
    "tr",
    {},
    make("td", { className: "corner", textContent: "true ↓ told →" }),
    ...classes.map((one) => make("th", { scope: "col", textContent: one })),
  );
  const lines = counts.map((row, i) => {
    const n = row.reduce((sum, count) => sum + count, 0);
    const boxes = row.map((count, j) => {
      const share = n ? count / n : 0;
      const cell = make("td");
      const label = `true ${classes[i]}, told ${classes[j]}: ${count.toLocaleString("en")} of ${n.toLocaleString("en")}, ${percent(share)}`;
      const button = make("button", { type: "button", className: "count", disabled: !count || i >= last || j >= last });
      button.append(
        make("span", { textContent: n ? (100 * share).toFixed(0) : "" }),
        make("small", { textContent: count ? count.toLocaleString("en") : "" }),
      );
      button.setAttribute("aria-label", label);
      button.setAttribute("aria-pressed", "false");
      button.style.setProperty("--share", String(share));
      button.addEventListener("click", () => {
        const table = button.closest("table");
        table.querySelectorAll('[aria-pressed="true"]').forEach((other) => other.setAttribute("aria-pressed", "false"));
        button.setAttribute("aria-pressed", "true");
        open(cells, found, path, classes[i], classes[j], signal);
      });
      cell.append(button);
      return cell;
    });
    return make("tr", {}, make("th", { scope: "row", textContent: classes[i] }), ...boxes);
  });
  const caption = make("caption", {
    textContent: `Confusion matrix: % of the true class, and count. ${found.told} A cell opens its pictures.`,
  });
  const table = make("table", { className: "matrix" }, caption, make("thead", {}, head), make("tbody", {}, ...lines));
  const warned = found.role === "report";
  return [
    scroller(table, "Confusion matrix"),
    ...(warned
      ? [make("p", { className: "soft", textContent: "These rows are reported on: what they show is not to tune by." })]
      : []),
    cells,
  ];
}

async function open(section, { role, dataset }, path, true_, told, signal) {
  const title = make("h4", { tabIndex: -1, textContent: `${true_} told as ${told}` });
  const thumbs = make("div", { className: "thumbs" });
  const more = make("button", { type: "button", textContent: "Show more", hidden: true });
  section.replaceChildren(title, thumbs, more);
  let shown = 0;

  async function add() {
    const asked = new URLSearchParams({ role, true: true_, told, first: shown });
    const { n, rows } = await get(`${path}/cell?${asked}`, signal);
    // Another cell may have been opened in the meantime.
    if (!title.isConnected) return;
    title.textContent = `${true_} told as ${told}: ${n.toLocaleString("en")} ${n === 1 ? "row" : "rows"}, the surest first`;
    thumbs.append(...rows.map((row) => thumb(dataset, row, lines(row), signal)));
    shown += rows.length;
    more.hidden = shown >= n || !rows.length;
  }

  const lines = (row) => [
    `${told} ${surely(row.p_told)}`,
    ...(told === true_ ? [] : [`${true_} ${surely(row.p_true)}`]),
    `row ${row.id} of ${row.split}`,
  ];
  const tell = (error) => {
    if (!signal.aborted) section.append(make("p", { className: "wrong", textContent: error.message }));
  };
  more.addEventListener("click", () => add().catch(tell));
  await add().catch(tell);
  title.focus();
}
