// Send images to the server, a few at a time. What the server cannot take now is sent again; what it refuses is named.
import { Problem, send } from "./api.js";
import { isZip, sendZip } from "./archive.js";
import { el } from "./dom.js";

const AT_ONCE = 3;
const TRANSIENT = [0, 408, 429, 502, 503, 504];
const OF_THE_FILE = [400, 413, 415]; // the file is at fault: the others go on
const AGAIN_S = [1, 2, 4, 8, 15, 30];

const $ = (id) => document.getElementById(id);
const waiting = []; // { file, path }
const failed = []; // { path, reason }
let [all, added, there, leftOut, unsent, running, stopped, isBroken, tell] = [0, 0, 0, 0, 0, 0, "", false, {}];

/** Begin. `changed(image)` is called with each image that is new, `unpacked()` after a step of a zip, `ended()` when nothing is left to send. */
export function beginAdding(told) {
  tell = told;
  const drop = $("drop");
  drop.addEventListener("dragover", (event) => (event.preventDefault(), drop.classList.add("over")));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add(await dropped(event.dataTransfer));
  });
  for (const [button, input] of [["choose", "files"], ["choose-folder", "folder"]]) {
    $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      add([...$(input).files].map((file) => ({ file, path: inFolder(file.webkitRelativePath || file.name) })));
      $(input).value = "";
    });
  }
  $("upload-stop").addEventListener("click", () => stop("Stopped. Images that were added stay."));
  addEventListener("beforeunload", (event) => running && event.preventDefault());
  addEventListener("dragover", (event) => event.preventDefault()); // a file dropped beside the area would replace the page
  addEventListener("drop", (event) => event.preventDefault());
}

/** Take the name of the chosen folder off a path: what lies deeper tells files of one name apart. */
function inFolder(path) {
  const [, ...rest] = path.split("/");
  return rest.join("/") || path;
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) await walk(entry, entry.isDirectory ? "" : entry.name, found);
  return found;
}

async function walk(entry, path, found) {
  if (entry.isFile) return found.push({ file: await new Promise((take, fail) => entry.file(take, fail)), path });
  const reader = entry.createReader();
  for (let some; (some = await new Promise((take, fail) => reader.readEntries(take, fail))).length; ) {
    for (const one of some) await walk(one, path ? `${path}/${one.name}` : one.name, found);
  }
}

function add(files) {
  if (!files.length) return;
  if (!running) [all, added, there, leftOut, unsent, stopped, isBroken] = [0, 0, 0, 0, 0, "", false], (failed.length = 0);
  const hidden = ({ path }) => path.split("/").some((name) => name.startsWith(".") || name.toLowerCase() === "thumbs.db");
  const sent = files.filter((one) => !hidden(one));
  waiting.push(...sent);
  all += sent.length;
  for (let i = running; i < AT_ONCE; i += 1) work();
  show();
}

async function work() {
  running += 1;
  for (let one; (one = waiting.shift()); show()) await sendOne(one);
  running -= 1;
  show();
  if (!running) tell.ended();
}

async function sendOne({ file, path }) {
  try {
    if (isZip(file)) await sendArchive(file);
    else await sendImage(file, path);
  } catch (error) {
    failed.push({ path, reason: error.message });
    if (error instanceof Problem && !OF_THE_FILE.includes(error.status)) stop(error.message, true);
  }
}

async function sendImage(file, path) {
  const query = new URLSearchParams({ name: path, modified: file.lastModified / 1000 });
  const headers = { "Content-Type": "application/octet-stream" };
  const answer = await patiently(async () => (await send(`/data/images?${query}`, { method: "POST", body: file, headers })).json());
  if (answer.state === "added") (added += 1), tell.changed(answer.image);
  else there += 1;
}

async function sendArchive(file) {
  let counted = false;
  await sendZip(file, {
    patiently,
    sent: (bytes) => ($("upload-state").textContent = `${file.name}: ${Math.floor((100 * bytes) / file.size)} % sent`),
    unpacked: (step) => {
      if (!counted) all += step.total - 1;
      counted = true;
      added += step.added;
      there += step.there;
      leftOut += step.left_out;
      for (const { name, reason } of step.skipped) failed.push({ path: `${file.name}: ${name}`, reason });
      show();
      tell.unpacked();
    },
    isStopped: () => Boolean(stopped),
  });
}

/** Repeat what the server cannot take now. */
async function patiently(run) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof Problem) || !TRANSIENT.includes(error.status) || stopped) throw error;
      $("upload-state").textContent = `Waiting: ${error.message}`;
      await new Promise((go) => setTimeout(go, 1000 * AGAIN_S[Math.min(tries, AGAIN_S.length - 1)]));
    }
  }
}

/** Send nothing more. isError: because the server cannot take it. */
function stop(reason, isError = false) {
  stopped = reason;
  isBroken = isError;
  unsent += waiting.length;
  waiting.length = 0;
  show();
}

function show() {
  const done = added + there + leftOut + failed.length;
  $("upload").hidden = !all;
  Object.assign($("upload-bar"), { max: Math.max(1, all), value: done });
  const parts = [`${done} of ${all} sent`, `${added} new`, there && `${there} already here`, leftOut && `${leftOut} not images`, failed.length && `${failed.length} not added`, unsent && `${unsent} not sent`];
  $("upload-state").className = isBroken ? "notice bad" : "";
  $("upload-state").textContent = `${parts.filter(Boolean).join(", ")}.${stopped ? ` ${stopped}` : ""}`;
  $("upload-stop").hidden = !running;
  const list = $("upload-failed");
  list.hidden = !failed.length;
  list.querySelector("summary").textContent = `${failed.length} not added: see why`;
  list.querySelector("ul").replaceChildren(...failed.slice(0, 500).map(({ path, reason }) => el("li", {}, `${path}: ${reason}`)));
}
