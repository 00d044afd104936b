// The server's API, and the token that it may ask for, which is kept in this page's memory alone. A page without a server
// has another api.js in this place.

export const PICTURES =
  "They go to this server alone, are looked at in its memory, and are forgotten: none is stored or logged. This page " +
  "loads nothing from elsewhere, and keeps nothing when it is closed.";

let token = "";
const TRIES = 5;
const QUALITY = 0.85;

export function setToken(given) {
  token = given;
}

export class Refused extends Error {
  constructor(status, problem) {
    super(sentence(problem));
    this.status = status;
  }
}

function sentence({ message, expected, nearest }) {
  const told = expected ? `${message}; expected ${expected}` : message;
  return nearest ? `${told}. Did you mean '${nearest}'?` : told;
}

function address(path) {
  // Relative, since a proxy may have put something before it.
  return new URL(path, document.baseURI);
}

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(address(path), { ...options, headers }).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, { message: "the server can't be reached" });
    });
    if (answer.ok) return answer;
    if (answer.status !== 503 || tries === TRIES) {
      const { error } = await answer.json().catch(() => ({ error: { message: `the server answers ${answer.status}` } }));
      throw new Refused(answer.status, error);
    }
    await new Promise((go) => setTimeout(go, 1000 * Number(answer.headers.get("Retry-After") ?? 1)));
  }
}

async function call(path, options) {
  return (await ask(path, options)).json();
}

// The models, what binds the use of the points (null where there is no model of them), and if the workspace is shown.
export function models() {
  return call("v1/models");
}

export function get(path, signal) {
  return call(path, { signal });
}

export function send(path, content) {
  const headers = { "Content-Type": "application/json" };
  return call(path, { method: "POST", headers, body: JSON.stringify(content) });
}

// The address of a picture in this page's memory, until the signal: an image's own request would have no token.
export async function picture(path, signal) {
  const url = URL.createObjectURL(await (await ask(path, { signal })).blob());
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  return url;
}

export function predict(file, name, model, points) {
  const body = new FormData();
  body.append("images", file, name);
  return call(`v1/predict?${new URLSearchParams({ model, points })}`, { method: "POST", body });
}

// The rows of a video's faces, as they come.
export async function* film(file, name, model, points, fps, signal) {
  const body = new FormData();
  body.append("video", file, name);
  const path = `v1/predict/stream?${new URLSearchParams({ model, points, fps })}`;
  const answer = await ask(path, { method: "POST", body, signal });
  let rest = "";
  const decoder = new TextDecoderStream();
  const reader = answer.body.pipeThrough(decoder).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

// A camera's frames, told one by one.
export async function live(model, points) {
  const url = address(`v1/live?${new URLSearchParams({ model, points })}`);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  // A browser sends no header with a WebSocket.
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  const bearer = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const socket = new WebSocket(url, token ? ["mien.live", `bearer.${bearer}`] : ["mien.live"]);
  const next = (kind) =>
    new Promise((come, fail) => {
      socket.addEventListener(kind, come, { once: true });
      const closed = () => fail(new Refused(0, { message: "the server has closed the camera's connection" }));
      if (socket.readyState > WebSocket.OPEN) closed();
      socket.addEventListener("close", closed, { once: true });
    });
  await next("open");
  return {
    async tell(canvas) {
      const frame = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
      const answer = next("message");
      socket.send(frame);
      return JSON.parse((await answer).data);
    },
    close() {
      socket.close();
    },
  };
}
