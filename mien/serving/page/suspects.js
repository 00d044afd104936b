// Likely label errors, one by one: whoever looks says by a key which class a face shows, and the server keeps it.

import { get, picture, send } from "./api.js";
import { make } from "./faces.js";
import { name, rowPath, sayStatus, surely } from "./parts.js";

const KEYS = 9;

export async function suspects(section, signal, called) {
  name(`Label errors of ${called}`);
  const list = await get(`v1/workspace/datasets/${called}/suspects`, signal);
  const title = make("h2", { textContent: `Likely label errors of ${called}` });
  if (!list.rows.length) {
    section.replaceChildren(title, make("p", { textContent: "No label is suspicious." }));
    sayStatus(section, "");
    return;
  }
  const state = { list, place: Math.max(0, list.rows.findIndex(({ chosen }) => chosen === null)), saving: Promise.resolve() };
  const parts = {
    told: make("p", { className: "suspect" }),
    image: make("div", { className: "looked-at" }),
    classes: make("div", { className: "buttons classes" }),
    progress: make("progress", { max: list.rows.length }),
    count: make("p"),
  };
  parts.progress.setAttribute("aria-label", "Rows looked at");
  const what = make("p", {
    textContent: "Models that weren't trained on these rows find another label likelier; in brackets: how likely they find each.",
  });
  const keys = make("p", { className: "soft keys" });
  keys.textContent =
    "Keys, while this part has the focus: a number says which class the face shows, G keeps its label, S takes the " +
    "suggested one, Backspace takes a choice back, ← and → go on without one.";
  const region = make("section", { tabIndex: 0, className: "look" }, parts.told, parts.image, parts.classes, moves(), keys);
  region.setAttribute("aria-label", "The row to look at");
  section.replaceChildren(title, what, parts.progress, parts.count, region, where(list));
  sayStatus(section, "");

  function moves() {
    const button = (text, work) => {
      const made = make("button", { type: "button", textContent: text });
      made.addEventListener("click", work);
      return made;
    };
    return make(
      "p",
      { className: "buttons" },
      button("← Previous", () => go(-1)),
      button("Next →", () => go(1)),
      button("Take the choice back", () => choose(null)),
    );
  }

  const row = () => list.rows[state.place];

  function go(step) {
    state.place = (state.place + step + list.rows.length) % list.rows.length;
    draw();
  }

  // The next row that nobody has looked at, from here on and then from the beginning.
  function goOn() {
    const order = [...list.rows.keys()];
    const next = [...order.slice(state.place + 1), ...order.slice(0, state.place + 1)];
    state.place = next.find((place) => list.rows[place].chosen === null) ?? (state.place + 1) % list.rows.length;
    draw();
  }

  function choose(label) {
    const { split, id } = row();
    const chosen = row();
    const before = chosen.chosen;
    if (label === before) return;
    chosen.chosen = label;
    // One after the other, in the order in which they were made.
    state.saving = state.saving
      .then(() => send(`v1/workspace/datasets/${called}/choices`, { split, id, label }))
      .then(({ looked }) => {
        list.looked = looked;
        sayStatus(section, label === null ? `Row ${id} is taken back.` : `Row ${id}: ${label}. Saved.`);
        count();
      })
      .catch((error) => {
        chosen.chosen = before;
        sayStatus(section, `Row ${id} isn't saved: ${error.message}`, true);
        draw();
      });
    if (label === null) draw();
    else goOn();
  }

  function count() {
    parts.progress.value = list.rows.filter(({ chosen }) => chosen !== null).length;
    parts.count.textContent = `Row ${state.place + 1} of ${list.rows.length.toLocaleString("en")}, the most suspicious first; ${list.looked.toLocaleString("en")} looked at.`;
  }

  const share = (value) => (value === null ? "" : ` (${surely(value)})`);

  function draw() {
    const one = row();
    parts.told.replaceChildren(
      make("strong", { textContent: one.given }),
      ` is the label${share(one.p_given)}, `,
      make("strong", { textContent: one.suggested }),
      ` is suggested${share(one.p_suggested)}. Row ${one.id} of ${one.split}.`,
    );
    const image = make("img", { alt: `Row ${one.id} of ${one.split}` });
    parts.image.replaceChildren(image);
    picture(rowPath(called, one.split, one.id), signal).then(
      (url) => (image.src = url),
      (error) => !signal.aborted && image.replaceWith(make("span", { className: "wrong", textContent: error.message })),
    );
    const held = parts.classes.contains(document.activeElement);
    parts.classes.replaceChildren(...list.classes.map((label, place) => classButton(one, label, place)));
    if (held) region.focus();
    count();
  }

  function classButton(one, label, place) {
    const button = make("button", { type: "button" });
    if (place < KEYS) button.append(make("kbd", { textContent: String(place + 1) }), " ");
    button.append(label);
    const kind = { [one.suggested]: "suggested", [one.given]: "label" }[label];
    if (kind) button.append(make("small", { textContent: ` ${kind}` }));
    button.setAttribute("aria-pressed", String(one.chosen === label));
    button.addEventListener("click", () => choose(label));
    return button;
  }

  region.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const number = /^[1-9]$/.test(event.key) ? list.classes[Number(event.key) - 1] : undefined;
    const one = row();
    const work = {
      ArrowLeft: () => go(-1),
      ArrowRight: () => go(1),
      Backspace: () => choose(null),
      g: () => choose(one.given),
      s: () => choose(one.suggested),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!work && number === undefined) return;
    event.preventDefault();
    if (number === undefined) work();
    else choose(number);
  });

  draw();
  region.focus({ preventScroll: true });
}

function where({ file, command }) {
  return make(
    "section",
    {},
    make("h3", { textContent: "What becomes of it" }),
    make("p", { textContent: "Each choice is saved at once into this file, which holds the rows that were looked at and no others; the next session goes on with it:" }),
    make("pre", { tabIndex: 0, textContent: file }),
    make("p", { textContent: "A new data set with the labels that were chosen:" }),
    make("pre", { tabIndex: 0, textContent: command }),
  );
}
