// Data: add images of a product, label them, move them. Each request carries the state that this page saw.
import { get, post, send } from "./api.js";
import { beginAdding } from "./adding.js";
import { confirm } from "./confirm.js";
import { el, fill, notice } from "./dom.js";
import { beginGrid, renamed, selectAll, selected, showImages } from "./grid.js";
import { onEnter, onKeys } from "./keys.js";
import { beginParts, previewSoon } from "./parts.js";
import { beginSplit, renderSplit } from "./test_split.js";

const $ = (id) => document.getElementById(id);
const MOST_BYTES = 14000; // of one request: the server takes 16 KiB
const MOST_IMAGES = 200;
const REDRAW_MS = 250; // while images are added

const images = new Map(); // file → image
let unchangeable = null;
let isLoaded = false; // until then, nothing is known of the images
let redraw = null;
let findings = []; // of the latest audit

async function load() {
  try {
    const [counted, listed, audited] = await Promise.all([get("/data"), get("/data/images"), get("/data/findings")]);
    findings = audited.findings;
    images.clear();
    for (const one of listed.images) images.set(one.file, one);
    unchangeable = counted.unchangeable;
    fill($("notes"), [unchangeable && `This page cannot change these images: ${unchangeable}.`, ...counted.problems].filter(Boolean).map((text) => notice(text, "")));
    isLoaded = true;
    $("problem").hidden = true;
  } catch (error) {
    complain(error, el("button", { type: "button", click: load }, "Try again"));
  }
  $("loading").hidden = true;
  render();
}

function complain(error, button) {
  fill($("problem"), el("span", {}, error.message), button);
  $("problem").hidden = false;
}

/** Draw soon: many images come one after the other. */
function renderSoon() {
  redraw ??= setTimeout(() => {
    redraw = null;
    render();
  }, REDRAW_MS);
}

function render() {
  for (const id of ["counts", "images"]) $(id).hidden = !isLoaded;
  $("drop").hidden = !isLoaded || Boolean(unchangeable);
  if (!isLoaded) return;
  for (const id of ["filters", "actions"]) $(id).hidden = !images.size;
  renderCounts();
  offerTypes();
  offerFindings();
  $("parts").hidden = !images.size || Boolean(unchangeable);
  const chosen = findings.find(({ kind }) => kind === $("finding").value);
  const found = chosen && new Set(chosen.files);
  const shown = [...images.values()].filter((one) => isShown(one, found)).sort((a, b) => a.file.localeCompare(b.file, undefined, { numeric: true }));
  $("nothing").hidden = shown.length > 0;
  $("nothing").textContent = images.size ? "No image matches the filter." : "No images yet. Drop images above. About 30 images of good parts are enough to begin.";
  showImages(shown);
  previewSoon();
}

function offerFindings() {
  const field = $("finding");
  const value = field.value;
  fill(field, el("option", { value: "" }, "all"), findings.map(({ kind, title, files }) => el("option", { value: kind }, `${title} (${files.length})`)));
  field.value = findings.some(({ kind }) => kind === value) ? value : "";
  $("finding-place").hidden = !findings.length;
  const advice = findings.find(({ kind }) => kind === field.value)?.advice;
  $("advice").hidden = !advice;
  $("advice").textContent = advice ?? "";
}

function isShown({ place, label, types, file, part }, found) {
  const { place: at, label: is, type, text } = Object.fromEntries(new FormData($("filters")));
  const words = text.trim().toLowerCase();
  return (at ? place === at : place !== "bin") && (!is || label === is) && (!type || types.includes(type)) && (!found || found.has(file)) &&
    (!words || file.toLowerCase().includes(words) || part.toLowerCase().includes(words));
}

function renderCounts() {
  const at = { unlabelled: [], train: [], test: [], challenge: [], bin: [] };
  for (const one of images.values()) at[one.place].push(one);
  renderSplit({ train: at.train.length, test: at.test.length }, !unchangeable);
  const tile = (title, found, text) => el("div", { class: "tile" }, el("h2", {}, title), el("p", { class: "big" }, found.length.toLocaleString()), el("p", { class: "quiet" }, text));
  const count = (found, is) => found.filter(({ label }) => label === is).length.toLocaleString();
  const split = (found) => `${count(found, "ok")} OK, ${count(found, "defective")} defective`;
  fill($("counts"), [
    tile("Not labelled", at.unlabelled, at.unlabelled.length ? "wait for a label" : "no image waits"),
    tile("Train", at.train, split(at.train)),
    tile("Test", at.test, at.test.length ? split(at.test) : "no test split yet"),
    tile("Known defects", at.challenge, `${at.bin.length} in the bin`),
  ]);
}

function offerTypes() {
  const types = [...new Set([...images.values()].flatMap(({ types }) => types))].sort();
  fill($("types"), types.filter((one) => one !== "defective").map((one) => el("option", { value: one })));
  const field = $("by-type");
  const value = field.value;
  fill(field, el("option", { value: "" }, "all"), types.map((one) => el("option", { value: one }, one)));
  field.value = types.includes(value) ? value : "";
}

function renderSelection(found) {
  $("selected").textContent = found.length ? `${found.length.toLocaleString()} selected` : "Nothing selected";
  const all = found.length > 0 && !unchangeable;
  const every = (check) => all && found.every(check);
  const inUse = ({ place }) => place !== "bin";
  $("say-ok").disabled = !every(({ place }) => inUse({ place }) && place !== "challenge");
  $("say-defective").disabled = !every(inUse);
  $("remove").disabled = !every(inUse);
  show("to-challenge", every(({ place, label }) => label === "defective" && ["train", "unlabelled"].includes(place)));
  show("to-train", every(({ place }) => place === "challenge"));
  $("part-use").disabled = !every(inUse);
  show("empty-bin", $("place").value === "bin" && !unchangeable && [...images.values()].some(({ place }) => place === "bin"));
  show("restore", every(({ place }) => place === "bin"));
  $("all").textContent = found.length ? "Select none" : "Select all";
}

function show(id, isShown) {
  $(id).hidden = !isShown;
}

/** Send a change of the selected images, in as many requests as they need; what was done is shown even if a later one fails. */
async function change(path, body, said) {
  const chosen = selected();
  if (!chosen.length) return;
  let done = 0;
  let toTest = 0;
  try {
    for (const some of inRequests(chosen)) {
      const answer = await post(path, { ...body, images: some.map(({ file, tag }) => ({ file, tag })) });
      for (const { before, image } of answer.images) take(before, image);
      done += some.length;
      toTest += answer.to_test;
      $("selected").textContent = `${done} of ${chosen.length} …`;
    }
    const more = toTest ? ` ${toTest} went to the test split, because their part is in the test split.` : "";
    $("live").textContent = `${said}: ${done} images.${more}`;
    $("problem").hidden = true;
    if (more) fill($("notes"), notice(more.trim(), ""));
    selectAll(false);
    render();
  } catch (error) {
    await load();
    complain(error);
  }
}

function inRequests(chosen) {
  const requests = [[]];
  let bytes = 0;
  for (const one of chosen) {
    const size = new TextEncoder().encode(JSON.stringify([one.file, one.tag])).length + 20;
    if (bytes + size > MOST_BYTES || requests.at(-1).length === MOST_IMAGES) requests.push([]), (bytes = 0);
    requests.at(-1).push(one);
    bytes += size;
  }
  return requests;
}

function take(before, image) {
  images.delete(before);
  images.set(image.file, image);
  renamed(before, image.file);
}

function say(label) {
  const type = $("type").value.trim();
  if ($(`say-${label}`).disabled) return;
  return change("/data/label", { label, types: label === "defective" && type ? [type] : [] }, label === "ok" ? "OK" : "Defective");
}

beginGrid(renderSelection);
async function emptyBin() {
  const { state, bin } = await get("/data");
  const done = await confirm({
    heading: "Empty the bin?",
    happens: [`${bin.images} images are deleted permanently.`],
    doing: "Deleting …",
    button: "Delete",
    run: () => post("/data/bin/empty", { state }),
  });
  if (done) await load();
}

async function saveChanges() {
  const address = URL.createObjectURL(await (await send("/data/changes.csv")).blob());
  el("a", { href: address, download: "changes.csv" }).click();
  URL.revokeObjectURL(address);
}

beginSplit(load);
beginParts({ patterned: load, named: (part) => change("/data/part", { part }, `Part ${part || "removed"}`) });
beginAdding({ changed: (image) => (images.set(image.file, image), renderSoon()), unpacked: load, ended: load });
$("empty-bin").addEventListener("click", () => emptyBin().catch(complain));
$("save-changes").addEventListener("click", () => saveChanges().catch(complain));
$("filters").addEventListener("input", render);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("all").addEventListener("click", () => selectAll(!selected().length));
$("say-ok").addEventListener("click", () => say("ok"));
$("say-defective").addEventListener("click", () => say("defective"));
$("to-challenge").addEventListener("click", () => change("/data/move", { to: "challenge" }, "Known defects"));
$("to-train").addEventListener("click", () => change("/data/move", { to: "train" }, "Back in train"));
$("remove").addEventListener("click", () => change("/data/move", { to: "bin" }, "Removed"));
$("restore").addEventListener("click", () => change("/data/move", { to: "back" }, "Restored"));
onEnter($("type"), () => say("defective"));
addEventListener("pageshow", (event) => event.persisted && load()); // the browser's back button
onKeys({ o: () => say("ok"), d: () => say("defective") });
load();
