// A grid of many images: only the tiles that can be seen are in the document. Click, shift-click and the arrow keys select.
import { imageUrl } from "./api.js";
import { el } from "./dom.js";

const WIDTH = 140, HEIGHT = 176, GAP = 8; // px of a tile
const MARGIN_ROWS = 2; // that are ready above and below
const MOST_PICTURES = 600; // that stay in memory
const AT_ONCE = 6; // requests for pictures

const grid = document.getElementById("grid");
const inside = document.getElementById("grid-inside");
const tiles = new Map(); // file → element
const pictures = new Map(); // file → address, in the order of use
const chosen = new Set(); // files
const wanted = []; // files whose picture is to be loaded, the last first
let images = [];
let here = 0; // place of the keyboard
let anchor = 0; // where a range begins
let loading = 0;
let tell = () => {};

/** Begin. `changed(selected)` is called when other images are selected. */
export function beginGrid(changed) {
  tell = changed;
  grid.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(() => draw()).observe(grid);
  grid.addEventListener("click", click);
  grid.addEventListener("keydown", press);
}

/** Show these images. What is selected stays, where it is still among them. */
export function showImages(found) {
  images = found;
  const files = new Set(images.map(({ file }) => file));
  for (const file of chosen) if (!files.has(file)) chosen.delete(file);
  here = Math.min(here, Math.max(0, images.length - 1));
  anchor = Math.min(anchor, here);
  for (const tile of tiles.values()) tile.remove();
  tiles.clear();
  grid.hidden = !images.length;
  draw();
  tell(selected());
}

/** Return the selected images; without a selection, that of the keyboard's place if the grid has the focus. */
export function selected() {
  return images.filter(({ file }) => chosen.has(file));
}

/** Select all images that are shown, or none. */
export function selectAll(isAll = true) {
  chosen.clear();
  if (isAll) for (const { file } of images) chosen.add(file);
  draw();
  tell(selected());
}

function columns() {
  return Math.max(1, Math.floor((grid.clientWidth - GAP) / (WIDTH + GAP)));
}

function draw() {
  const across = columns();
  const width = Math.floor((grid.clientWidth - GAP) / across) - GAP;
  const rows = Math.ceil(images.length / across);
  inside.style.height = `${rows * (HEIGHT + GAP) + GAP}px`;
  const first = Math.max(0, Math.floor(grid.scrollTop / (HEIGHT + GAP)) - MARGIN_ROWS) * across;
  const last = Math.min(images.length, (Math.ceil((grid.scrollTop + grid.clientHeight) / (HEIGHT + GAP)) + MARGIN_ROWS) * across);
  const seen = new Set(images.slice(first, last).map(({ file }) => file));
  for (const [file, tile] of tiles) if (!seen.has(file)) (tile.remove(), tiles.delete(file));
  for (let i = first; i < last; i += 1) place(i, across, width);
  grid.setAttribute("aria-activedescendant", tiles.has(images[here]?.file) ? `image-${here}` : "");
}

function place(i, across, width) {
  const image = images[i];
  if (!tiles.has(image.file)) {
    tiles.set(image.file, tileOf(image));
    inside.append(tiles.get(image.file));
    load(image.file);
  }
  const tile = tiles.get(image.file);
  tile.id = `image-${i}`;
  tile.dataset.at = i;
  tile.setAttribute("aria-posinset", i + 1);
  tile.setAttribute("aria-setsize", images.length);
  tile.setAttribute("aria-selected", chosen.has(image.file));
  tile.classList.toggle("here", i === here);
  const style = { left: `${GAP + (i % across) * (width + GAP)}px`, top: `${GAP + Math.floor(i / across) * (HEIGHT + GAP)}px`, width: `${width}px`, height: `${HEIGHT}px` };
  Object.assign(tile.style, style);
}

const PLACES = { unlabelled: "", train: "Train", test: "Test", challenge: "Known defect", bin: "Bin" };

function tileOf({ file, label, types, part, place }) {
  const name = file.split("/").at(-1);
  const word = label === "ok" ? "OK" : label === "defective" ? types.join(", ") || "Defective" : "Not labelled";
  const more = [PLACES[place], part && `part ${part}`].filter(Boolean).join(" · ");
  return el("div", { class: `tile-image ${label ?? ""}`, role: "option", title: file, "aria-label": `${name}: ${[word, more].filter(Boolean).join(", ")}` },
    el("div", { class: "blank" }),
    el("div", { class: "said", "aria-hidden": "true" }, el("span", { class: "label" }, word), el("span", {}, name), el("span", { class: "more" }, more || " ")),
  );
}

function load(file) {
  const address = pictures.get(file);
  if (address) return paint(file, address);
  wanted.push(file);
  work();
}

async function work() {
  if (loading >= AT_ONCE) return;
  loading += 1;
  for (let file; (file = wanted.pop()); ) {
    if (!tiles.has(file) || pictures.has(file)) continue;
    try {
      const address = await imageUrl(`/data/thumbnail?${new URLSearchParams({ file })}`);
      pictures.set(file, address);
      forgetOldest();
      paint(file, address);
    } catch {
      // the tile stays without a picture; its name says which it is
    }
  }
  loading -= 1;
}

function forgetOldest() {
  for (const [file, address] of pictures) {
    if (pictures.size <= MOST_PICTURES) return;
    if (tiles.has(file)) continue;
    pictures.delete(file);
    URL.revokeObjectURL(address);
  }
}

/** Let the picture of an image go with it when it gets another file. */
export function renamed(before, after) {
  const address = pictures.get(before);
  if (!address || before === after) return;
  pictures.delete(before);
  pictures.set(after, address);
}

function paint(file, address) {
  const tile = tiles.get(file);
  if (tile?.firstElementChild.tagName === "DIV") tile.firstElementChild.replaceWith(el("img", { src: address, alt: "" }));
}

function click(event) {
  const tile = event.target.closest("[data-at]");
  if (!tile) return;
  const at = Number(tile.dataset.at);
  if (event.shiftKey) range(at);
  else toggle(at);
  here = at;
  done();
}

function toggle(at) {
  const { file } = images[at];
  if (!chosen.delete(file)) chosen.add(file);
  anchor = at;
}

function range(at) {
  for (let i = Math.min(anchor, at); i <= Math.max(anchor, at); i += 1) chosen.add(images[i].file);
}

function press(event) {
  if ((event.ctrlKey || event.metaKey) && event.key === "a") return selectAll(), event.preventDefault();
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const across = columns();
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -here, End: images.length - 1 - here, PageDown: 3 * across, PageUp: -3 * across };
  if (event.key === " ") toggle(here);
  else if (event.key === "Escape") chosen.clear();
  else if (event.key in steps) {
    here = Math.max(0, Math.min(images.length - 1, here + steps[event.key]));
    if (event.shiftKey) range(here);
    show(here);
  } else return;
  event.preventDefault();
  done();
}

function show(at) {
  const top = Math.floor(at / columns()) * (HEIGHT + GAP);
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + HEIGHT + 2 * GAP > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + HEIGHT + 2 * GAP - grid.clientHeight;
}

function done() {
  draw();
  tell(selected());
}
