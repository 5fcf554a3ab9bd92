// Review: one image after the other, the least certain first; a person says what it really is.
import { get, send } from "./api.js";
import { clearBoxes, drawBoxes } from "./boxes.js";
import { clearHeat, drawHeat, prepareStage } from "./heat.js";
import { onEnter, onKeys } from "./keys.js";
import { pictureOf } from "./picture.js";
import { chosen, offer, onChoice } from "./places.js";
import { proposed, typesInWords } from "./types.js";
import { WORDS, percent, shape } from "./verdict.js";
import { ZOOM_KEYS, prepareZoom, showWhole } from "./zoom.js";

const $ = (id) => document.getElementById(id);
const TAKE_BACK_MS = 8000; // so long what was said isn't sent yet, and undoing leaves no trace
const PAGE = 50;
const MONTH_MS = 30 * 24 * 3600e3;

const queue = []; // inspections in order; those before `at` were judged or skipped
const pictures = new Map(); // id → promise of an address
const seen = new Map(); // id → promise of what the model that is served now sees
let at = 0;
let next = null; // cursor of the page after
let waiting = null; // {one, label, type, timer}: said, not sent yet
let kept = 0;
const UNCERTAIN = { order: "uncertain" };
let order = UNCERTAIN; // while the parts have changed, the most novel images come first

/** Offer the lines and stations of the last month. */
async function offerPlaces() {
  const query = new URLSearchParams({ since: new Date(Date.now() - MONTH_MS).toISOString(), periods: 1 });
  const { lines, stations } = await get(`/statistics?${query}`);
  offer({ line: lines, station: stations });
}

/** Load from the start. */
async function begin() {
  queue.length = at = 0;
  next = null;
  await chooseOrder();
  if (await attempt(load)) await show();
  $("loading").hidden = true;
}

/** Ask whether the line needs labels of what the model has never seen. Without an answer the order is the usual one. */
async function chooseOrder() {
  const line = await get("/monitoring").catch(() => null);
  order = line?.asks_for_labels ? { order: "novel", model_version: line.version } : UNCERTAIN;
  $("order").textContent = order === UNCERTAIN ? "Most uncertain images first: these labels help the model most." : "The parts have changed: images with the highest novelty come first. The model learns the change from their labels.";
}

async function load() {
  const cursor = next ? `&cursor=${encodeURIComponent(next)}` : "";
  const page = await get(`/inspections?${new URLSearchParams({ ...order, labelled: "false", limit: PAGE, ...chosen() })}${cursor}`);
  const known = new Set(queue.map((one) => one.sha256));
  if (waiting) known.add(waiting.one.sha256);
  for (const one of page.inspections) {
    if (one.image && !known.has(one.sha256)) queue.push(one);
    known.add(one.sha256); // a label belongs to the image: the same one isn't asked twice
  }
  next = page.next;
}

async function show() {
  while (at >= queue.length && next) if (!(await attempt(load))) return;
  const one = queue[at];
  $("loading").hidden = true;
  $("bench").hidden = !one;
  $("nothing").hidden = Boolean(one);
  renderUndo();
  if (one) await render(one);
  else renderNothing();
}

async function render(one) {
  propose(proposed(one.defect_type));
  $("word").textContent = WORDS[one.verdict];
  $("shape").replaceChildren(shape(one.verdict));
  renderFacts(one);
  $("live").textContent = `${one.name || "Image without a name"}. The model said ${WORDS[one.verdict]}, score ${percent(one.score, 0)}.`;
  $("frame").hidden = true;
  showWhole();
  $("unshown").hidden = false;
  $("unshown").textContent = "Loading …";
  showHeat(one);
  try {
    const url = await picture(one);
    if (one !== queue[at]) return;
    $("image").src = url;
    $("image").alt = one.name || "Inspected image";
  } catch (error) {
    if (one === queue[at]) $("unshown").textContent = error.message;
  }
  const after = queue[at + 1];
  if (after) for (const load of [picture, evidence]) load(after).catch(() => {}); // tried again when it is shown
}

function propose(type) {
  $("type").value = type;
  showType();
}

/** Show the type on the button too: on a phone the field is out of sight. */
function showType() {
  $("with-type").textContent = $("type").value.trim();
}

function picture(one) {
  return once(pictures, one, () => pictureOf(one));
}

function evidence(one) {
  return once(seen, one, () => get(`/inspections/${one.id}/evidence`));
}

/** Return the promise that is known of an inspection, or make it; one that fails is forgotten. */
function once(known, { id }, ask) {
  if (!known.has(id)) known.set(id, ask().catch((error) => known.delete(id) && Promise.reject(error)));
  return known.get(id);
}

/** Show where the model that is served now sees the defect, and say so where another one decided. */
async function showHeat(one) {
  clearHeat();
  clearBoxes();
  $("now").textContent = "";
  try {
    const now = await evidence(one);
    if (one !== queue[at]) return;
    drawHeat(now.evidence, now.verdict);
    drawBoxes(now.boxes, now.image_size);
    if (!one.defect_type) propose($("type").value || proposed(now.defect_type));
    const unlike = now.reason && now.reason !== one.reason ? `Unlike the training images: ${now.reason}.` : "";
    $("now").textContent = [isSame(now.model, one) ? "" : otherModel(now, one), unlike].filter(Boolean).join(" ");
  } catch (error) {
    if (one === queue[at]) $("now").textContent = `No heat: ${error.message}`;
  }
}

function isSame(model, one) {
  return model.name === one.model_name && model.version === one.model_version;
}

function otherModel({ model, verdict, score }, one) {
  const [now, then] = [`${model.name} ${model.version}`, `${one.model_name} ${one.model_version}`];
  return `The heat map is from ${now}, which is served now; the verdict above is from ${then}. Verdict of ${now}: ${WORDS[verdict]}, score ${percent(score)}.`;
}

function renderFacts(one) {
  const when = new Date(one.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const facts = {
    Why: one.reason && `Unlike the training images: ${one.reason}`,
    Score: `${percent(one.score)}, defective from ${percent(one.threshold)}`,
    "Defect type": typesInWords(one.defect_types),
    File: one.name, Line: one.line, Part: one.part, When: when,
    Model: `${one.model_name} ${one.model_version}`,
    Waiting: `${queue.length - at}${next ? " or more" : ""} to review`,
  };
  $("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => [cell("dt", name), cell("dd", value)]));
}

function cell(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function renderNothing() {
  const some = kept + (waiting ? 1 : 0) + at > 0;
  $("nothing-title").textContent = some ? "All done for now" : "Nothing to review";
  const isFiltered = Object.keys(chosen()).length > 0;
  $("nothing-why").textContent = isFiltered && !some ? "No image that matches the filter waits for a label. Change the filter above." : some
    ? `${kept + (waiting ? 1 : 0)} images labelled. Look again to see the images that you skipped.`
    : "All stored images have a label, or there are no inspections yet. New images appear here, most uncertain first.";
  $("live").textContent = $("nothing-title").textContent;
}

/** Note what the person says and go on; it is sent when the next is said, after some seconds, or when the page is left. */
async function say(label) {
  const one = queue[at];
  if (!one || $("bench").hidden) return;
  const type = label === "defective" ? $("type").value.trim() : "";
  const before = sendWaiting();
  waiting = { one, label, type, timer: setTimeout(sendWaiting, TAKE_BACK_MS) };
  $("said").textContent = `${WORDS[label]}${type ? `, ${type}` : ""}: ${one.name || "the image before"}. Use Undo to discard it.`;
  at += 1;
  await show();
  await before;
}

async function sendWaiting() {
  if (!waiting) return;
  const said = waiting;
  forgetWaiting();
  try {
    await send("/feedback", requestOf(said));
    said.one.kept = said.label;
    kept += 1;
  } catch (error) {
    complain(new Error(`“${WORDS[said.label]}” for ${said.one.name || "an image"} could not be stored: ${error.message}`));
    queue.splice(at + 1, 0, said.one); // asked again
    if (queue.length === 1 || at >= queue.length - 1) show();
  }
  renderUndo();
}

/** A request that outlives the page: what was said isn't lost when it is left. */
function requestOf({ one, label, type }) {
  const body = JSON.stringify({ inspection_id: one.id, label, ...(type && { defect_type: type }) });
  return { method: "POST", headers: { "Content-Type": "application/json" }, body, keepalive: true };
}

function forgetWaiting() {
  clearTimeout(waiting?.timer);
  waiting = null;
}

/** Take back what wasn't sent yet; of what was, show the image again: what is said then counts instead. */
async function undo() {
  if (at === 0) return;
  const back = queue[at - 1];
  if (waiting?.one === back) {
    forgetWaiting();
    $("said").textContent = "Discarded: no label was stored.";
  } else {
    $("said").textContent = back.kept
      ? `Your label ${WORDS[back.kept]} is already stored. Your next label counts instead; both stay on record.`
      : "Here it is again.";
  }
  at -= 1;
  await show();
}

async function skip() {
  if ($("bench").hidden) return;
  $("said").textContent = "Skipped: it will come again later.";
  at += 1;
  await show();
}

function renderUndo() {
  $("undo").disabled = at === 0;
  $("undo-last").hidden = at === 0;
}

async function attempt(action) {
  try {
    await action();
    $("problem").hidden = true;
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

function complain(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

prepareStage({
  shown: () => {
    $("frame").hidden = false;
    $("unshown").hidden = true;
  },
  unshown: () => ($("unshown").textContent = "This browser cannot display the image."),
});
$("say-ok").addEventListener("click", () => say("ok"));
$("say-defective").addEventListener("click", () => say("defective"));
$("type").addEventListener("input", showType);
$("undo").addEventListener("click", undo);
$("undo-last").addEventListener("click", undo);
$("skip").addEventListener("click", skip);
$("again").addEventListener("click", async () => {
  await sendWaiting();
  await begin();
});
addEventListener("pagehide", sendWaiting);
document.addEventListener("visibilitychange", () => document.hidden && sendWaiting());
prepareZoom();
onEnter($("type"), () => {
  say("defective");
  $("type").focus(); // the next may have a type as well
});
onKeys({ o: () => say("ok"), d: () => say("defective"), z: undo, s: skip, ...ZOOM_KEYS });
onChoice(async () => {
  await sendWaiting();
  await begin();
});
begin().then(offerPlaces).catch(() => {}); // after the images: the server lets few look through records at a time
