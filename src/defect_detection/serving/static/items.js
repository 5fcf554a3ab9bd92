// The images of Inspect and what the server said of them. What it could not answer is sent again; nothing is forgotten while the tab is open.
import { Problem, send } from "./api.js";
import { forget, keep, restore } from "./session.js";

const TRANSIENT = [0, 408, 429, 502, 503, 504]; // no server, too many requests, no model yet, a proxy without a server
const CONTENT = [400, 413, 415, 422]; // the image is at fault: the same again gets the same answer
const AGAIN_S = [2, 4, 8, 15, 30]; // pauses between attempts, the last again and again

export const items = []; // { number, file, url, result, error, isFinal, label, type, tries }
export const state = { waiting: "", unkept: "" }; // why nothing is sent at the moment; why this browser keeps nothing

let tell = {};
let working = false;
let pause = null;
let failures = 0;

/** Begin with what this tab kept. `changed(item)` is called when something is known of an item, `waits()` when nothing can be sent. */
export async function beginItems({ added, changed, waits, wanted }) {
  tell = { added, changed, waits, wanted };
  addEventListener("online", tryAgain);
  try {
    for (const kept of await restore()) append(kept);
  } catch (error) {
    state.unkept = error.message || error.name;
  }
  work();
}

/** Queue files and return the place of the first. */
export function addFiles(files) {
  const first = items.length;
  for (const file of files) {
    append({ file });
    save(items.at(-1));
  }
  work();
  return first;
}

/** Forget everything, here and in this browser; what the server recorded stays. */
export async function clearItems() {
  clearTimeout(pause);
  for (const { url } of items) URL.revokeObjectURL(url);
  items.length = 0;
  Object.assign(state, { waiting: "" });
  await forget().catch(() => {});
}

/** Keep a person's label with an item. */
export function setLabel(item, label, type) {
  Object.assign(item, { label, type });
  save(item);
}

/** Send now what waits, and what failed for another reason than the image itself. */
export function tryAgain() {
  for (const item of items.filter(({ error, isFinal }) => error && !isFinal)) {
    item.error = undefined;
    tell.changed(item);
  }
  clearTimeout(pause);
  pause = null;
  state.waiting = "";
  work();
}

function append({ file, result, error, label, type }) {
  const number = (items.at(-1)?.number ?? -1) + 1;
  const item = { number, file, url: URL.createObjectURL(file), result, error, isFinal: Boolean(error), label, type, tries: 0 };
  items.push(item);
  tell.added(item);
}

function save(item) {
  keep(item).catch((error) => (state.unkept = error.message || error.name));
}

/** Inspect what waits: what was tried least often, of those what is shown. */
async function work() {
  if (working || pause) return;
  working = true;
  for (let item; !pause && (item = nextItem()); ) await inspect(item);
  working = false;
}

function nextItem() {
  const waiting = items.filter(({ result, error }) => !result && !error);
  const least = Math.min(...waiting.map(({ tries }) => tries));
  const next = waiting.filter(({ tries }) => tries === least);
  return next.includes(tell.wanted()) ? tell.wanted() : next[0];
}

async function inspect(item) {
  const form = new FormData();
  form.append("image", item.file, item.file.name);
  item.tries += 1;
  try {
    const response = await send("/predict?explain=array", { method: "POST", body: form });
    item.result = await response.json();
    failures = 0;
    state.waiting = "";
  } catch (error) {
    failed(item, error);
  }
  if (items.includes(item)) {
    if (item.result || item.isFinal) save(item);
    tell.changed(item);
  }
}

function failed(item, error) {
  if (error instanceof Problem && TRANSIENT.includes(error.status)) return wait(item, error);
  item.error = error.message;
  item.isFinal = CONTENT.includes(error.status);
}

function wait(item, error) {
  const seconds = AGAIN_S[Math.min(failures, AGAIN_S.length - 1)];
  failures += 1;
  state.waiting = `${item.file.name}: ${error.message}`;
  pause = setTimeout(() => {
    pause = null;
    work();
  }, 1000 * seconds);
  tell.waits();
}
