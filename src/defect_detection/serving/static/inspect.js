// Inspect: images in, a verdict on each, and whether a person agrees.
import { get, post, send } from "./api.js";
import { HAS_CAMERA, startCamera, stopCamera, takePicture } from "./camera.js";
import { clearHeat, drawHeat, prepareStage } from "./heat.js";
import { onKeys } from "./keys.js";
import { MEANS, WORDS, percent, shape, showVerdict } from "./verdict.js";

const $ = (id) => document.getElementById(id);
const items = []; // {file, url, button, result, error, label}
let shown = -1;
let working = false;

/** Queue files, show the first of them, and inspect all in order. */
function add(files) {
  if (!files.length) return;
  const first = items.length;
  for (const file of files) items.push(newItem(file));
  show(first);
  work();
}

function newItem(file) {
  const item = { file, url: URL.createObjectURL(file), button: document.createElement("button") };
  const picture = new Image();
  picture.src = item.url;
  picture.alt = "";
  picture.addEventListener("error", () => picture.replaceWith(kindOf(file)));
  item.button.append(picture);
  item.button.type = "button";
  item.button.ariaLabel = `${file.name}: waiting`;
  item.button.addEventListener("click", () => show(items.indexOf(item)));
  const entry = document.createElement("li");
  entry.append(item.button);
  $("strip").append(entry);
  return item;
}

/** In the place of a picture that this browser can't show: what kind of file it is. */
function kindOf(file) {
  const place = document.createElement("span");
  place.textContent = file.name.includes(".") ? file.name.split(".").at(-1).slice(0, 4).toUpperCase() : "?";
  return place;
}

/** Inspect what waits: what is shown comes first. */
async function work() {
  if (working) return;
  working = true;
  for (let item; (item = waiting(items[shown]) ?? items.find(waiting)); ) await inspect(item);
  working = false;
}

function waiting(item) {
  return item && !item.result && !item.error ? item : undefined;
}

async function inspect(item) {
  const form = new FormData();
  form.append("image", item.file, item.file.name);
  try {
    const response = await send("/predict?explain=array", { method: "POST", body: form });
    item.result = await response.json();
  } catch (error) {
    item.error = error.message;
  }
  mark(item);
  if (item === items[shown]) render();
  count();
}

/** Put the verdict on the small picture. */
function mark(item) {
  const verdict = item.result?.verdict;
  item.button.querySelector("svg")?.remove();
  if (verdict) item.button.append(shape(verdict));
  item.button.classList.toggle("failed", Boolean(item.error));
  item.button.ariaLabel = `${item.file.name}: ${verdict ? WORDS[verdict] : "no verdict"}`;
}

function count() {
  const n = (verdict) => items.filter((item) => item.result?.verdict === verdict).length;
  const done = items.filter((item) => item.result || item.error).length;
  const failed = items.filter((item) => item.error).length;
  const parts = [`${done} of ${items.length} inspected`, `${n("ok")} OK`, `${n("defective")} defective`];
  if (n("review")) parts.push(`${n("review")} for review`);
  if (failed) parts.push(`${failed} without a verdict`);
  $("count").textContent = parts.join(" · ");
  $("queue").hidden = items.length < 2;
}

function show(index) {
  if (index < 0 || index >= items.length) return;
  shown = index;
  endCamera();
  $("drop").hidden = true;
  $("unshown").hidden = true;
  $("frame").hidden = false;
  $("image").src = items[index].url;
  $("type").value = "";
  items.forEach((item, i) => (item.button.ariaCurrent = i === index ? "true" : null));
  count();
  render();
  const { offsetLeft, offsetWidth } = items[index].button;
  $("strip").scrollLeft = offsetLeft + offsetWidth / 2 - $("strip").clientWidth / 2; // nothing but the strip may move
}

/** Bring verdict, heat and buttons in line with the image that is shown. */
function render() {
  const item = items[shown];
  clearHeat();
  $("problem").hidden = !item.error;
  $("problem").textContent = item.error ?? "";
  $("judge").hidden = Boolean(item.error);
  $("bar").hidden = false;
  $("slider").hidden = Boolean(item.error);
  $("holds").hidden = !item.result;
  for (const id of ["say-ok", "say-defective", "type"]) $(id).disabled = !item.result;
  $("previous").disabled = shown === 0;
  $("next").disabled = shown === items.length - 1;
  renderLabel(item);
  if (item.result) renderResult(item);
  else showVerdict($("verdict"), null, item.error ? "No verdict" : "Looking …", item.file.name);
  if (item.error) $("live").textContent = `${item.file.name}: no verdict. ${item.error}`;
}

function renderResult({ result, file }) {
  const { verdict, score, threshold, model, latency_ms, evidence } = result;
  showVerdict($("verdict"), verdict, WORDS[verdict], MEANS[verdict]);
  $("why").append(line(`Score ${percent(score)}, defective from ${percent(threshold)}`));
  $("why").append(line(`${file.name} · ${model.name} ${model.version} · ${latency_ms.toFixed(0)}\u00a0ms`));
  $("image").alt = `${file.name}, ${WORDS[verdict]}`;
  $("live").textContent = `${WORDS[verdict]}: ${MEANS[verdict]}. Score ${percent(score, 0)}. ${file.name}`;
  if (evidence?.values) drawHeat(evidence.values, verdict);
}

function line(text) {
  const small = document.createElement("small");
  small.textContent = text;
  return small;
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
  const kept = label && `Kept: ${WORDS[label]}${type ? `, ${type}` : ""}. The other button changes it.`;
  $("said").textContent = kept ?? "What you say is kept with the image and teaches the next model.";
}

/** Keep what the person says; the latest counts. */
async function say(label) {
  const item = items[shown];
  if (!item?.result) return;
  const type = label === "defective" ? $("type").value.trim() : "";
  try {
    await post("/feedback", { inspection_id: item.result.id, label, ...(type && { defect_type: type }) });
    Object.assign(item, { label, type });
    $("problem").hidden = true;
  } catch (error) {
    complain(error);
  }
  if (item === items[shown]) renderLabel(item);
}

function complain(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

async function beginCamera() {
  try {
    await startCamera($("video"));
  } catch (error) {
    complain(error);
    return;
  }
  for (const id of ["drop", "frame", "camera", "choose", "judge", "bar", "unshown", "problem"]) $(id).hidden = true;
  showVerdict($("verdict"), null, "Camera", "Take the picture when the part fills the view.");
  for (const id of ["video", "shoot", "stop"]) $(id).hidden = false;
  $("shoot").focus();
}

/** Turn the camera off and show what was shown before. */
function leaveCamera() {
  endCamera();
  if (shown >= 0) show(shown);
  else showVerdict($("verdict"), null, "No image yet", "The verdict appears here.");
}

function endCamera() {
  if ($("video").hidden) return;
  stopCamera($("video"));
  for (const id of ["video", "shoot", "stop"]) $(id).hidden = true;
  for (const id of ["camera", "choose"]) $(id).hidden = false;
  $("frame").hidden = shown < 0;
  $("drop").hidden = shown >= 0;
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
  $("camera").addEventListener("click", beginCamera);
  $("stop").addEventListener("click", leaveCamera);
  $("shoot").addEventListener("click", async () => add([await takePicture($("video"))]));
  onKeys({ o: () => say("ok"), d: () => say("defective"), ArrowLeft: () => show(shown - 1), ArrowRight: () => show(shown + 1) });
}

$("camera").hidden = !HAS_CAMERA;
$("no-camera").hidden = HAS_CAMERA;
prepareStage({
  unshown: () => {
    $("frame").hidden = true;
    $("unshown").hidden = false;
  },
});
listen();
prepare();
