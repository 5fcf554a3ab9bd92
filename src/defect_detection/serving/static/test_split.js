// The test split: a proposal that can be looked at, and the choice, which is made once.
import { get, post } from "./api.js";
import { confirm } from "./confirm.js";
import { el, fill, notice, table } from "./dom.js";

const $ = (id) => document.getElementById(id);
let proposal = null;
let tell = () => {};

/** Begin. `chosen()` is called when the split was chosen. */
export function beginSplit(chosen) {
  tell = chosen;
  $("propose").addEventListener("click", propose);
  $("share").addEventListener("change", () => proposal && propose());
  $("freeze").addEventListener("click", freeze);
}

/** Show what can be done: { train, test } are numbers of images; a proposal of before may be out of date. */
export function renderSplit({ train, test }, isChangeable) {
  $("split").hidden = !isChangeable || !(train || test);
  $("split-choose").hidden = test > 0 || !train;
  $("split-why").textContent = test
    ? "The test split is frozen, so that models of different days can be compared. A new image goes to test if its part is in test. No image goes from test to train."
    : "A model must be tested on images from which it has not learned. Label your images first, then hold some parts back for the test. You choose the test split once.";
  if (test) $("proposal").hidden = true;
}

async function propose() {
  $("propose").disabled = true;
  try {
    proposal = await get(`/data/split?share=${$("share").value}`);
    show();
  } catch (error) {
    fill($("proposal-facts"), notice(error.message, "bad"));
    for (const id of ["proposal-kinds", "proposal-days"]) fill($(id));
    $("freeze").disabled = true;
    $("proposal-by-day").hidden = true;
  }
  $("proposal").hidden = false;
  $("propose").disabled = false;
}

function show() {
  const { images, parts, kinds, days, without_part: without } = proposal;
  fill($("proposal-facts"), [
    el("p", {}, `${images} ${images === 1 ? "image" : "images"} of ${parts} ${parts === 1 ? "part" : "parts"} for the test.`),
    without ? notice(`${without} images have no part, so each counts as a separate part. If several images show the same part, set the parts first: otherwise the test is too easy.`) : null,
  ]);
  const rows = (found) => found.map(({ name, train, test }) => ({ cells: [name, String(train), String(test)] }));
  fill($("proposal-kinds"), table("Images of each type", ["Type", "Train", "Test"], rows(kinds)));
  fill($("proposal-days"), table("Images of each day", ["Day", "Train", "Test"], rows(days)));
  $("proposal-by-day").hidden = false;
  $("freeze").disabled = false;
}

async function freeze() {
  const { images, parts, state } = proposal;
  const done = await confirm({
    heading: "Use this test split?",
    happens: [`${images} images of ${parts} parts go to the test split.`, "The split is frozen: it cannot be chosen again.", "New images go to test if their part is in test."],
    doing: "Moving …",
    button: "Use this test split",
    kind: "primary",
    run: () => post("/data/split", { share: Number($("share").value), state }),
  });
  if (!done) return;
  proposal = null;
  $("proposal").hidden = true;
  tell();
}
