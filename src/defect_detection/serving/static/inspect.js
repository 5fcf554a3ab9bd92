// Inspect: images in, a verdict on each, and whether a person agrees.
import { get, post } from "./api.js";
import { boxesInWords, clearBoxes, drawBoxes } from "./boxes.js";
import { isOn, prepareCamera } from "./camera.js";
import { saveCsv } from "./csv.js";
import { clearHeat, drawHeat, prepareStage } from "./heat.js";
import { addFiles, beginItems, clearItems, items, setLabel, state, tryAgain } from "./items.js";
import { onEnter, onKeys } from "./keys.js";
import { drawnOf } from "./picture.js";
import { prepareRegion } from "./region.js";
import { addSmall, clearSmalls, currentSmall, markSmall, showSmall } from "./strip.js";
import { typesInWords } from "./types.js";
import { MEANS, WORDS, percent, showVerdict } from "./verdict.js";
import { ZOOM_KEYS, prepareZoom, showWhole } from "./zoom.js";

const $ = (id) => document.getElementById(id);
const SHOWN = "defect-detection-shown"; // in sessionStorage: which image of this tab
let shown = -1;
let complaint = ""; // about something else than the image that is shown

/** Queue files behind those that this tab kept, show the first of them, and inspect all in order. */
async function add(files) {
  if (!files.length) return;
  await begun;
  const first = items.length;
  addFiles(files);
  show(first);
}

function show(index) {
  if (index < 0 || index >= items.length) return;
  shown = index;
  sessionStorage.setItem(SHOWN, index);
  complaint = "";
  $("drop").hidden = $("unshown").hidden = true;
  $("frame").hidden = false;
  $("image").src = items[index].url;
  $("type").value = "";
  showWhole();
  count();
  render();
  currentSmall(items, index);
}

function count() {
  const n = (verdict) => items.filter((item) => item.result?.verdict === verdict).length;
  const done = items.filter((item) => item.result || item.error).length;
  const failed = items.filter((item) => item.error).length;
  const parts = [`${done} of ${items.length} inspected`, `${n("ok")} OK`, `${n("defective")} defective`];
  if (n("review")) parts.push(`${n("review")} for review`);
  if (failed) parts.push(`${failed} without a verdict`);
  if (state.unkept) parts.push(`the images are lost when you leave this page, because this browser does not store them (${state.unkept})`);
  $("count").textContent = parts.join(" · ");
  $("queue").hidden = items.length === 0;
}

/** Bring verdict, heat and buttons in line with the image that is shown. */
function render() {
  const item = items[shown];
  clearHeat();
  clearBoxes();
  renderProblem(item);
  $("judge").hidden = Boolean(item.error);
  $("bar").hidden = false;
  $("slider").hidden = Boolean(item.error);
  $("holds").hidden = !item.result;
  for (const id of ["say-ok", "say-defective", "type"]) $(id).disabled = !item.result;
  $("previous").disabled = shown === 0;
  $("next").disabled = shown === items.length - 1;
  renderLabel(item);
  if (item.result) renderResult(item);
  else showVerdict($("verdict"), null, item.error ? "No verdict" : state.waiting ? "Waiting" : "Looking …", item.file.name);
  if (item.error) $("live").textContent = `${item.file.name}: no verdict. ${item.error}`;
}

/** Have the server draw what this browser can't show, once it was inspected. */
async function draw(item) {
  if (!item.isUnshowable || !item.result || item.isDrawn) return;
  item.isDrawn = true;
  const url = await drawnOf(item.result);
  if (!url || !items.includes(item)) return;
  URL.revokeObjectURL(item.url);
  item.url = url;
  showSmall(item);
  if (item === items[shown]) $("image").src = url;
}

/** Say what went wrong, and offer to try again what may go well then. */
function renderProblem(item) {
  const failed = item?.error && `${item.file.name}: ${item.error}`;
  const waiting = state.waiting && `${state.waiting} The page tries again automatically.`;
  $("problem-text").textContent = complaint || failed || waiting;
  $("problem").hidden = !$("problem-text").textContent;
  $("again").hidden = Boolean(complaint) || !(waiting || (failed && !item.isFinal));
}

function renderResult({ result, file }) {
  const { verdict, score, score_is: scoreIs, threshold, model, latency_ms, evidence, reason, page, pages } = result;
  const { boxes = [], image_size: size, ignored_boxes: ignored, defect_types: types = [] } = result; // what an earlier version kept has none
  const means = meansOf(verdict, reason);
  showVerdict($("verdict"), verdict, WORDS[verdict], means);
  if (reason) $("why").append(line(`Unlike the training images: ${reason}`));
  $("why").append(line(`${scoreIs === "anomaly" ? "Anomaly score" : "Score"} ${percent(score)}${threshold === null ? "" : `, defective from ${percent(threshold)}`}`));
  if (types.length) $("why").append(line(`Defect type: ${typesInWords(types)}`));
  const where = boxesInWords(boxes, ignored);
  if (where) $("why").append(line(where));
  if (pages > 1) $("why").append(line(`Page ${page} of ${pages} decided`));
  $("why").append(line(`${file.name} · ${model.name} ${model.version} · ${latency_ms.toFixed(0)}\u00a0ms`));
  $("image").alt = `${file.name}, ${WORDS[verdict]}`;
  $("live").textContent = `${WORDS[verdict]}: ${means}. ${reason ? `${reason}. ` : ""}Score ${percent(score, 0)}. ${file.name}`;
  if (evidence?.values) drawHeat(evidence, verdict);
  if (boxes.length) drawBoxes(boxes, size);
}

/** `reason`: how the image is unlike those of the training. The score decides nothing then. */
function meansOf(verdict, reason) {
  return reason && verdict === "review" ? "unlike the training images: a person decides" : MEANS[verdict];
}

function line(text) {
  return Object.assign(document.createElement("small"), { textContent: text });
}

function renderLabel({ result, label, type }) {
  const verdict = result?.verdict;
  const words = (said) => (verdict === "review" || !verdict ? `It is ${WORDS[said]}` : verdict === said ? "Agree" : "Disagree");
  for (const said of ["ok", "defective"]) {
    const agrees = ["Agree", "Disagree"].includes(words(said)) ? `${words(said)}: ${WORDS[said]}` : words(said);
    $(`say-${said}`).querySelector("span").textContent = agrees;
    $(`say-${said}`).ariaPressed = String(label === said);
  }
  $("ask").textContent = verdict === "review" ? "What is it?" : "Is that right?";
  const kept = label && `Stored: ${WORDS[label]}${type ? `, ${type}` : ""}. Use the other button to change it.`;
  $("said").textContent = kept ?? "Your label is stored with the image. The next training uses it.";
}

/** Keep what the person says; the latest counts. */
async function say(label) {
  const item = items[shown];
  if (!item?.result) return;
  const type = label === "defective" ? $("type").value.trim() : "";
  try {
    await post("/feedback", { inspection_id: item.result.id, label, ...(type && { defect_type: type }) });
    setLabel(item, label, type);
    complaint = "";
  } catch (error) {
    complaint = `${item.file.name}: “${WORDS[label]}” was not stored. ${error.message}`;
  }
  if (item !== items[shown]) return;
  renderProblem(item);
  renderLabel(item);
}

function complain(error) {
  complaint = error.message;
  renderProblem(items[shown]);
}

/** Empty the page; the camera stays as it is. */
async function clear() {
  await clearItems();
  clearSmalls();
  sessionStorage.removeItem(SHOWN);
  shown = -1;
  complaint = "";
  clearHeat();
  clearBoxes();
  renderProblem();
  count();
  for (const id of ["frame", "unshown", "judge", "bar", "region-tool"]) $(id).hidden = true;
  $("drop").hidden = isOn();
  showVerdict($("verdict"), null, "No image yet", "The verdict appears here.");
  $("choose").focus();
}

const COLUMNS = ["file", "verdict", "score", "threshold", "model", "version", "reason", "label", "defect_type", "inspection", "error", "model_type", "boxes"];

function save() {
  const rows = items.map(({ file, result, error, label, type }) => [
    file.name, result?.verdict, result?.score, result?.threshold, result?.model.name, result?.model.version,
    result?.reason, label, type, result?.id, error, result?.defect_type, result?.boxes?.length ? JSON.stringify(result.boxes) : "",
  ]);
  const time = new Date().toISOString().slice(0, 16).replaceAll(":", "-");
  saveCsv(`inspected-${time}.csv`, [COLUMNS, ...rows]);
}

/** Say at once when nothing can be inspected. */
async function prepare() {
  try {
    await get("/health/ready");
  } catch (error) {
    if (shown < 0) complain(error);
  }
}

function listen() {
  prepareRegion(() => shown >= 0 && !items[shown].isDrawn);
  for (const id of ["choose", "drop"]) $(id).addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", ({ target }) => {
    add([...target.files]);
    target.value = "";
  });
  document.addEventListener("paste", ({ clipboardData }) => add([...clipboardData.files]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("stage").classList.add("over");
  });
  document.addEventListener("dragleave", () => $("stage").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("stage").classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  $("say-ok").addEventListener("click", () => say("ok"));
  $("say-defective").addEventListener("click", () => say("defective"));
  $("previous").addEventListener("click", () => show(shown - 1));
  $("next").addEventListener("click", () => show(shown + 1));
  $("again").addEventListener("click", tryAgain);
  $("save").addEventListener("click", save);
  $("clear").addEventListener("click", clear);
  onEnter($("type"), () => say("defective"));
  const moves = { ArrowLeft: () => show(shown - 1), ArrowRight: () => show(shown + 1) };
  onKeys({ o: () => say("ok"), d: () => say("defective"), ...moves, ...ZOOM_KEYS });
}

function begin() {
  return beginItems({
    wanted: () => items[shown],
    added: (item) => addSmall(item, { open: () => show(items.indexOf(item)), unshown: () => draw(Object.assign(item, { isUnshowable: true })) }),
    changed: (item) => {
      markSmall(item);
      draw(item);
      count();
      if (item === items[shown]) render();
      else renderProblem(items[shown]);
    },
    waits: () => items[shown] && render(),
  });
}

prepareStage({
  shown: () => {
    $("frame").hidden = shown < 0;
    $("unshown").hidden = true;
  },
  unshown: () => {
    $("frame").hidden = true;
    $("unshown").hidden = false;
  },
});
prepareZoom();
prepareCamera({ taken: (file) => add([file]), complain });
const begun = begin();
listen();
await begun;
if (items.length) show(Math.min(Number(sessionStorage.getItem(SHOWN)), items.length - 1));
prepare();
