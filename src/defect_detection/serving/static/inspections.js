// The page Inspections: search and filter what was inspected, look at an image of it, save the list.
import { get, send } from "./api.js";
import { saveUrl } from "./csv.js";
import { boxesInWords, clearBoxes, drawBoxes } from "./boxes.js";
import { el, facts, fill, moment, table } from "./dom.js";
import { sizedPictureOf } from "./picture.js";
import { here } from "./product.js";
import { typesInWords } from "./types.js";
import { WORDS, percent, shape } from "./verdict.js";

const PAGE = 50;
const WAIT_MS = 300; // while someone types
const COLUMNS = ["Time", "Image", "Verdict", "Score", "Label", "Line", "Station", "Group", "Part", "Sent by", "Model"];
const $ = (id) => document.getElementById(id);
const filters = $("filters");

let found = [];
let next = null; // cursor of the page after
let newest = 0; // of requests: an answer that comes late isn't shown
let typing;

/** Ask for the first page under the filters, or for the page after. A search goes on until a page has a match. */
async function load(more = false) {
  const number = ++newest;
  const before = more ? found : [];
  let cursor = more ? next : null;
  try {
    do {
      const query = new URLSearchParams({ ...wanted(), limit: PAGE, ...(cursor && { cursor }) });
      const page = await get(`/inspections?${query}`);
      if (number !== newest) return;
      found = [...before, ...page.inspections];
      next = cursor = page.next;
      $("problem").hidden = true;
      show();
    } while (next && found.length === before.length);
  } catch (error) {
    if (number === newest) complain(error);
  }
}

/** The filters as the server takes them; empty ones are left out. */
function wanted() {
  const set = Object.fromEntries([...new FormData(filters)].filter(([, value]) => value.trim()));
  for (const time of ["since", "until"]) if (set[time]) set[time] = new Date(set[time]).toISOString();
  if (set.label !== "none") return set;
  const { label: _none, ...others } = set;
  return { ...others, labelled: "false" };
}

function show() {
  const some = found.length > 0;
  const isFiltered = Object.keys(wanted()).length > 0;
  $("count").textContent = some
    ? `${found.length}${next ? " or more" : ""} ${found.length === 1 ? "inspection" : "inspections"}`
    : next ? "Searching older inspections …" : isFiltered ? "No inspection matches. Change the search, or show all." : "";
  const rows = found.map((one) => ({ cells: cells(one) }));
  fill($("list"), some ? table("Inspections, newest first", COLUMNS, rows) : isFiltered ? null : nothing());
  $("more-row").hidden = !next || !some;
  $("all").hidden = !isFiltered;
  $("save").disabled = !some;
}

function nothing() {
  const start = el("a", { class: "button", href: here("/") }, "Inspect images");
  return el("div", {}, el("h2", {}, "No inspections yet"), el("p", { class: "lede" }, "Inspections from this page and from the line appear here."), el("p", { class: "buttons" }, start));
}

function cells(one) {
  const open = el("button", { type: "button", class: "open", click: () => look(one) }, one.name || "without a name");
  return [
    moment(one.at),
    one.image ? open : one.name || "without a name",
    el("span", { class: "verdict-word" }, shape(one.verdict), [WORDS[one.verdict], one.defect_type].filter(Boolean).join(", ")),
    percent(one.score),
    labelOf(one) ?? "–",
    one.line || "–",
    one.station || "–",
    one.group || "–",
    one.part || "–",
    one.sent_by || "–",
    `${one.model_name} ${one.model_version}`,
  ];
}

function labelOf({ label, feedback }) {
  return label && `${WORDS[label]}${feedback[0].defect_type ? `, ${feedback[0].defect_type}` : ""}`;
}

/** Show one image with all that is known of it. */
async function look(one) {
  $("look-title").textContent = one.name || "Image without a name";
  $("look-picture").hidden = true;
  clearBoxes();
  $("look-state").textContent = "Loading …";
  const said = one.feedback.map(({ label, defect_type: type, by, comment }) => [WORDS[label], type, `by ${by}`, comment].filter(Boolean).join(", "));
  fill($("look-facts"), facts([
    ["Verdict", WORDS[one.verdict]],
    ["Score", `${percent(one.score)}, defective from ${percent(one.threshold)}`],
    ["Why", one.reason && `Unlike the training images: ${one.reason}`],
    ["Defect type", typesInWords(one.defect_types)],
    ["Boxes", boxesInWords(one.boxes)],
    ["Time", moment(one.at)],
    ["Label", said.length ? said.join("; ") : "none yet"],
    ["Line", one.line], ["Station", one.station], ["Group", one.group], ["Part", one.part], ["Sent by", one.sent_by],
    ["Model", `${one.model_name} ${one.model_version}`],
  ]));
  $("look").showModal();
  try {
    const { url, size } = await sizedPictureOf(one);
    $("look-image").src = url;
    await $("look-image").decode();
    $("look-image").alt = one.name || "Inspected image";
    $("look-picture").style.setProperty("--ratio", size[0] / size[1]);
    $("look-picture").hidden = false;
    drawBoxes(one.boxes, size);
    $("look-state").textContent = "";
    $("look").addEventListener("close", () => URL.revokeObjectURL(url), { once: true });
  } catch (error) {
    $("look-state").textContent = error.name === "EncodingError" ? "This browser cannot display the image." : error.message;
  }
}

async function save() {
  $("save").disabled = true;
  try {
    const answer = await send(`/inspections.csv?${new URLSearchParams(wanted())}`);
    saveUrl("inspections.csv", URL.createObjectURL(await answer.blob()));
  } catch (error) {
    complain(error);
  }
  $("save").disabled = false;
}

function complain(error) {
  $("count").textContent = "";
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

/** Keep the filters in the address, so that it can be passed on and going back returns to them. */
function changed() {
  const set = [...new FormData(filters)].filter(([, value]) => value.trim());
  const query = new URLSearchParams(set).toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  load();
}

for (const [name, value] of new URLSearchParams(location.search)) if (filters.elements[name]) filters.elements[name].value = value;
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(changed, WAIT_MS);
});
filters.addEventListener("reset", () => setTimeout(changed));
$("more").addEventListener("click", () => load(true));
$("save").addEventListener("click", save);
load();
