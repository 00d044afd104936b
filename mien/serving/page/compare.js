// Two measured runs side by side: which is better, in words, and the rows on which they disagree most surely.

import { get } from "./api.js";
import { make } from "./faces.js";
import { name, printed, sayStatus, surely, thumb } from "./parts.js";

export async function compare(section, signal, a, b) {
  name("Compare two runs");
  const { runs } = await get("v1/workspace", signal);
  const measured = runs.filter(({ report }) => report);
  const result = make("div");
  section.replaceChildren(make("h2", { textContent: "Compare two runs" }), choice(measured, a, b), result);
  sayStatus(section, measured.length > 1 ? "" : "Two runs that mien evaluate has measured are needed.");
  if (!b) return;
  sayStatus(section, `Comparing ${a} and ${b} …`);
  const found = await get(`v1/workspace/compare?${new URLSearchParams({ a, b })}`, signal);
  result.replaceChildren(...told(found, a, b, signal));
  sayStatus(section, "");
}

function choice(measured, a, b) {
  const select = (label, chosen) => {
    const options = measured.map(({ run, report }) =>
      make("option", { value: run, textContent: `${run}: ${report}`, selected: run === chosen }),
    );
    return make("label", {}, `${label} `, make("select", {}, ...options));
  };
  const form = make(
    "form",
    { className: "pair" },
    select("One run", a ?? measured[0]?.run),
    select("The other", b ?? measured[1]?.run),
    make("button", { textContent: "Compare" }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [one, other] = [...form.querySelectorAll("select")].map(({ value }) => value);
    if (one && other) location.hash = `#workspace/compare/${one}/${other}`;
  });
  return form;
}

function told(found, a, b, signal) {
  const kinds = [...new Set(found.disagreements.map(({ kind }) => kind))];
  return [
    ...found.verdicts.map((text) => make("p", { className: "verdict", textContent: text })),
    ...found.notes.map((text) => make("p", { className: "soft", textContent: `Note: ${text}.` })),
    ...found.tables.map(printed),
    ...(kinds.length && found.dataset
      ? [make("h3", { textContent: "Where they disagree most surely" })]
      : []),
    ...(found.dataset ? kinds : []).flatMap((kind) => [
      make("h4", { textContent: kind }),
      make(
        "div",
        { className: "thumbs" },
        ...found.disagreements
          .filter((one) => one.kind === kind)
          .map((one) => {
            const said = [a, b].map((run, place) => `${run}: ${one.said[place]} ${surely(one.surely[place])}`);
            return thumb(found.dataset, one, [`label ${one.label}`, ...said, `row ${one.id} of ${one.split}`], signal);
          }),
      ),
    ]),
  ];
}
