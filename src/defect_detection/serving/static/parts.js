// Set the parts of images: from a pattern of their names, with a preview while it is typed, or of what is selected.
import { get, post } from "./api.js";
import { el, fill, notice, table } from "./dom.js";

const $ = (id) => document.getElementById(id);
const PAUSE_MS = 250; // after the last key
let preview = null;
let timer = null;
let asked = 0;
let tell = {};

/** Begin. `told.patterned(answer)` is called when parts were set from a pattern, `told.named(part)` to set that of the selection. */
export function beginParts(told) {
  tell = told;
  for (const id of ["pattern", "pattern-only"]) $(id).addEventListener("input", () => {
    if (!$("pattern").value.trim()) fill($("pattern-preview"));
    previewSoon();
  });
  $("pattern-form").addEventListener("submit", (event) => (event.preventDefault(), use()));
  $("part-form").addEventListener("submit", (event) => (event.preventDefault(), tell.named($("part").value.trim())));
}

/** Images have changed: a preview of before no longer counts. */
export function previewSoon() {
  $("pattern-use").disabled = true;
  clearTimeout(timer);
  if ($("pattern").value.trim()) timer = setTimeout(look, PAUSE_MS); // without one, what was said last stays
}

async function look() {
  const turn = (asked += 1);
  try {
    const query = new URLSearchParams({ pattern: $("pattern").value.trim(), only_without: $("pattern-only").checked });
    const found = await get(`/data/parts?${query}`);
    if (turn === asked) show(found);
  } catch (error) {
    if (turn === asked) fill($("pattern-preview"), notice(error.message, "bad"));
  }
}

function show(found) {
  preview = found;
  const name = (file) => file.split("/").at(-1);
  fill($("pattern-preview"), [
    el("p", {}, `${found.matched.toLocaleString()} images of ${found.parts.toLocaleString()} parts match.`),
    found.examples.length ? table("Examples", ["File", "Part"], found.examples.map(({ file, part }) => ({ cells: [name(file), part] }))) : null,
    found.unmatched ? el("p", { class: "quiet" }, `${found.unmatched.toLocaleString()} do not match and stay as they are, such as ${name(found.unmatched_examples[0])}.`) : null,
  ]);
  $("pattern-use").disabled = !found.matched;
}

async function use() {
  $("pattern-use").disabled = true;
  try {
    const body = { pattern: $("pattern").value.trim(), only_without: $("pattern-only").checked, state: preview.state };
    const done = await post("/data/parts", body);
    $("pattern").value = "";
    fill($("pattern-preview"), notice(`${done.images.toLocaleString()} images have a part now.`, "good"));
    tell.patterned(done);
  } catch (error) {
    fill($("pattern-preview"), notice(error.message, "bad"));
  }
}
