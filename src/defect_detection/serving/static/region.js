// Draw the region that counts, and areas to ignore, on the image that is shown: by mouse, or by numbers and arrow keys.
// It only gives lines for config.yaml and a picture of the mask: what a model sees is decided by its training.
import { saveUrl } from "./csv.js";

const $ = (id) => document.getElementById(id);
const FIELDS = ["left", "top", "width", "height"];
const MOST = 900; // px of the drawing
let picture = null; // the image, in its own size
let areas = []; // rectangles [left, top, width, height] in pixels of the image; the first is the region
let at = 0; // which of them is changed

/** Offer the tool for the image that is shown. `isWhole` tells whether it has its own size, not that of a preview by the server. */
export function prepareRegion(isWhole) {
  $("image").addEventListener("load", () => {
    $("region-tool").hidden = !isWhole();
    if (isWhole()) begin();
  });
  $("region-which").addEventListener("change", ({ target }) => choose(Number(target.value)));
  $("region-add").addEventListener("click", () => {
    const [left, top, width, height] = areas[0];
    areas.push([left, top, Math.max(1, width >> 2), Math.max(1, height >> 2)]);
    choose(areas.length - 1);
  });
  $("region-remove").addEventListener("click", () => {
    areas.splice(at, 1);
    choose(at - 1);
  });
  $("region-save").addEventListener("click", saveMask);
  for (const name of FIELDS) $(`region-${name}`).addEventListener("change", () => set(FIELDS.map((one) => Number($(`region-${one}`).value))));
  $("region-canvas").addEventListener("keydown", press);
  $("region-canvas").addEventListener("pointerdown", drag);
}

function begin() {
  const { naturalWidth: width, naturalHeight: height } = $("image");
  if (picture?.naturalWidth !== width || picture?.naturalHeight !== height) areas = [[0, 0, width, height]];
  picture = $("image");
  choose(Math.min(at, areas.length - 1));
}

function choose(index) {
  at = Math.max(0, index);
  const names = areas.map((_, i) => new Option(i ? `Ignored area ${i}` : "Region", i, false, i === at));
  $("region-which").replaceChildren(...names);
  $("region-remove").disabled = at === 0;
  set(areas[at]);
}

/** Keep a rectangle inside the image, and show what it comes to. */
function set([left, top, width, height]) {
  const [wide, high] = [picture.naturalWidth, picture.naturalHeight];
  const x = clamp(left, 0, wide - 1);
  const y = clamp(top, 0, high - 1);
  areas[at] = [x, y, clamp(width, 1, wide - x), clamp(height, 1, high - y)];
  FIELDS.forEach((name, i) => ($(`region-${name}`).value = areas[at][i]));
  draw();
  const [region, ...ignored] = areas;
  const lines = ["data:", `  region: [${region.join(", ")}]`];
  if (ignored.length) lines.push("  ignore_mask: ignore_mask.png");
  $("region-yaml").textContent = lines.join("\n");
  $("region-save").disabled = !ignored.length;
}

function clamp(value, low, high) {
  return Math.min(Math.max(Math.round(value) || 0, low), high);
}

function draw() {
  const canvas = $("region-canvas");
  const scale = Math.min(1, MOST / Math.max(picture.naturalWidth, picture.naturalHeight));
  canvas.width = Math.max(1, Math.round(picture.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(picture.naturalHeight * scale));
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const [region, ...ignored] = areas.map((area) => area.map((value) => value * scale));
  context.fillStyle = "rgb(0 0 0 / .65)";
  context.beginPath();
  context.rect(0, 0, canvas.width, canvas.height);
  context.rect(...region);
  context.fill("evenodd");
  for (const area of ignored) context.fillRect(...area);
  context.lineWidth = 2;
  context.strokeStyle = getComputedStyle(canvas).color;
  context.strokeRect(...areas[at].map((value) => value * scale));
}

/** Arrow keys move the rectangle, with Shift they change its size; a tenth of the step with Alt. */
function press(event) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const way = ways[event.key];
  if (!way) return;
  event.preventDefault();
  event.stopPropagation();
  const step = event.altKey ? 1 : 10;
  const [x, y] = way.map((one) => one * step);
  const [left, top, width, height] = areas[at];
  if (event.shiftKey) set([left, top, width + x, height + y]);
  else set([Math.min(left + x, picture.naturalWidth - width), Math.min(top + y, picture.naturalHeight - height), width, height]);
}

/** Draw the rectangle anew from where the button goes down to where it goes up. */
function drag(event) {
  const canvas = event.currentTarget;
  const from = place(event);
  canvas.setPointerCapture(event.pointerId);
  const move = (moved) => {
    const to = place(moved);
    const corner = from.map((value, i) => Math.min(value, to[i]));
    set([...corner, ...from.map((value, i) => Math.abs(value - to[i]))]);
  };
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", () => canvas.removeEventListener("pointermove", move), { once: true });
}

/** Return where the pointer is, in pixels of the image. */
function place({ clientX, clientY }) {
  const box = $("region-canvas").getBoundingClientRect();
  return [((clientX - box.left) / box.width) * picture.naturalWidth, ((clientY - box.top) / box.height) * picture.naturalHeight];
}

/** Save the mask of the region: white, with black where the image is ignored. */
function saveMask() {
  const [[left, top, width, height], ...ignored] = areas;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.fillStyle = "black";
  for (const [x, y, wide, high] of ignored) context.fillRect(x - left, y - top, wide, high);
  canvas.toBlob((blob) => saveUrl("ignore_mask.png", URL.createObjectURL(blob)), "image/png");
}
