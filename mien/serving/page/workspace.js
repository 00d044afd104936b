// The workspace view: which part of it an address means. A part is left by its signal, which ends what it awaits.

import { compare } from "./compare.js";
import { dataset } from "./datasets.js";
import { make } from "./faces.js";
import { overview } from "./overview.js";
import { link, sayStatus } from "./parts.js";
import { run } from "./run.js";
import { suspects } from "./suspects.js";

const NAME = "([A-Za-z0-9][A-Za-z0-9._-]{0,99})";
const RUN = `(${NAME.slice(1, -1)}/[1-9][0-9]{0,8})`;
const PARTS = [
  ["", overview],
  [`/datasets/${NAME}`, dataset],
  [`/datasets/${NAME}/suspects`, suspects],
  [`/runs/${RUN}`, run],
  ["/compare", compare],
  [`/compare/${RUN}/${RUN}`, compare],
].map(([path, show]) => [new RegExp(`^#workspace${path}$`), show]);

// Follow the address from now on: photos, or the workspace.
export function watch(links, photos, section) {
  let left = new AbortController();

  async function follow() {
    left.abort();
    left = new AbortController();
    const { signal } = left;
    const open = location.hash.startsWith("#workspace");
    document.body.classList.toggle("in-workspace", open);
    photos.hidden = open;
    section.hidden = !open;
    for (const one of links.querySelectorAll("a")) {
      if ((one.hash === "#workspace") === open) one.setAttribute("aria-current", "page");
      else one.removeAttribute("aria-current");
    }
    if (open) await show(section, signal);
    else document.title = "mien";
  }

  window.addEventListener("hashchange", follow);
  follow();
}

async function show(section, signal) {
  const found = PARTS.map(([path, part]) => [path.exec(location.hash), part]).find(([match]) => match);
  const body = make("div");
  const status = make("p", { className: "status" });
  status.setAttribute("role", "status");
  section.replaceChildren(...above(), status, body);
  section.focus({ preventScroll: true });
  window.scrollTo(0, 0);
  try {
    if (!found) throw new Error("there is no such part of the workspace");
    const [match, part] = found;
    sayStatus(section, "Reading …");
    await part(body, signal, ...match.slice(1));
  } catch (error) {
    if (!signal.aborted) sayStatus(section, error.message, true);
    return;
  }
}

// The way back.
function above() {
  if (location.hash === "#workspace") return [];
  const way = make("p", { className: "way" }, link("#workspace", "All data sets and runs"));
  const data = /^#workspace\/datasets\/([^/]+)\/suspects$/.exec(location.hash);
  if (data) way.append(" › ", link(`#workspace/datasets/${data[1]}`, data[1]));
  return [way];
}
