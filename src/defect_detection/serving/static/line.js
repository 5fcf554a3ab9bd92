// The part of Monitor that says whether the line still is what the model learned: figures beside those of training, and what moved most.
import { address, get } from "./api.js";
import { el, fill, moment, notice } from "./dom.js";
import { pictureOf } from "./picture.js";
import { svg } from "./verdict.js";

const KINDS = { alarm: "bad", usual: "good", "too few": "", "no baseline": "", differs: "" };
const COLUMNS = ["Figure", "Usual", "Now", "Usual and now, 90 % of the images", "Windows in a row that differ"];
const PLACES = ["Station", "State", "Inspections"];
const STATES = { alarm: "Alarm", usual: "As the model learned", "too few": "Too few inspections", "no baseline": "Not compared", differs: "Differs" };
const [WIDTH, HEIGHT] = [220, 26];

let shown = ""; // what is drawn: pictures are not loaded again every half minute
let urls = [];

/** Ask the server, and draw what is new into `place`. */
export async function refreshLine(place) {
  try {
    const line = await get("/monitoring");
    const key = JSON.stringify(line);
    if (key !== shown) draw(place, line);
    shown = key;
  } catch (error) {
    shown = "";
    fill(place, notice(error.message));
  }
}

function draw(place, line) {
  for (const url of urls) URL.revokeObjectURL(url);
  urls = [];
  fill(
    place,
    notice(line.message, KINDS[line.state]),
    el("p", { class: "quiet compared" }, compared(line)),
    line.asks_for_labels ? el("p", { class: "buttons" }, el("a", { class: "button", href: address("/page/review") }, "Label the most novel images")) : null,
    line.places.length > 1 ? places(line) : null,
    line.figures.length ? figures(line) : null,
    line.moved_most.length ? moved(line) : null,
  );
}

function compared({ model, version, state, windows, inspections, needed, compared_at, next_at }) {
  const name = `${model} ${version}`;
  if (state === "no baseline") return `${name} is in production.`;
  const full = `${windows.length} windows of ${(needed / windows.length).toLocaleString()} inspections of ${name}`;
  const some = `${inspections.toLocaleString()} of the ${needed.toLocaleString()} inspections of ${name} that a comparison needs`;
  const count = inspections < needed ? some : full;
  return ["Compared at ", moment(compared_at), `, with ${count}. Next at `, moment(next_at), "."];
}

/** A row for each station that is compared on its own. */
function places({ places }) {
  const rows = places.map((one) =>
    el("tr", { class: one.state === "alarm" ? "moved" : null },
      el("th", { scope: "row" }, [one.line, one.station].filter(Boolean).join(", ") || "All of the product"),
      el("td", {}, STATES[one.state]),
      el("td", { class: "number" }, `${one.inspections.toLocaleString()} of ${one.needed.toLocaleString()}`),
    ),
  );
  const head = el("tr", {}, PLACES.map((name, i) => el("th", { scope: "col", class: i === 2 ? "number" : null }, name)));
  const table = el("table", {}, el("caption", {}, "Each station of the line is compared separately."), el("thead", {}, head), el("tbody", {}, rows));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Stations" }, table);
}

function figures({ figures }) {
  const head = COLUMNS.map((name, i) => el("th", { scope: "col", class: ["", "number", "number", "bars", ""][i] }, name));
  const rows = figures.map((one) =>
    el("tr", { class: one.alarm ? "moved" : null },
      el("th", { scope: "row" }, name(one.name)),
      el("td", { class: "number" }, brief(one.usual.middle)),
      el("td", { class: "number" }, brief(one.now.middle)),
      el("td", { class: "bars" }, ranges(one)),
      el("td", {}, one.in_a_row ? `${one.in_a_row}, ${one.difference.sign > 0 ? "higher" : "lower"}${one.alarm ? ": alarm" : ""}` : "none"),
    ),
  );
  const table = el("table", {}, el("caption", {}, "Usual: median of the OK training images. Now: median of the last window."), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures of the line" }, table);
}

/** Two bars on one scale: what is usual, and below it what is now; each with its median. */
function ranges({ usual, now, alarm }) {
  const low = Math.min(usual.low, now.low);
  const span = Math.max(usual.high, now.high) - low || 1;
  const x = (value) => 3 + ((WIDTH - 6) * (value - low)) / span;
  const bar = (spread, y, kind) => [
    svg("rect", { x: x(spread.low), y, width: Math.max(x(spread.high) - x(spread.low), 2), height: 8, rx: 2, class: kind }),
    svg("line", { x1: x(spread.middle), x2: x(spread.middle), y1: y - 2, y2: y + 10, class: "median" }),
  ];
  const title = `Usual ${brief(usual.low)} to ${brief(usual.high)}, now ${brief(now.low)} to ${brief(now.high)}`;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, class: "ranges", role: "img", "aria-label": title }, [
    ...bar(usual, 3, "usual"),
    ...bar(now, 15, alarm ? "now moved" : "now"),
  ]);
}

function moved({ moved_most }) {
  const figure = name(moved_most[0].figure);
  return el("div", {}, el("h3", {}, "Images that differ most"), el("ul", { class: "most" }, moved_most.map((one) => picture(one, figure))));
}

function picture(one, figure) {
  const place = el("div", { class: "frame" }, el("span", { class: "quiet" }, "Loading …"));
  pictureOf({ id: one.id, image: `/inspections/${one.id}/image` }).then(
    (url) => {
      urls.push(url);
      fill(place, el("img", { src: url, alt: one.name || "Inspected image", loading: "lazy" }));
    },
    () => fill(place, el("span", { class: "quiet" }, "Not stored")),
  );
  return el("li", {}, place, el("p", { class: "quiet" }, `${figure} ${brief(one.value)}`), one.name ? el("p", { class: "quiet name" }, one.name) : null);
}

function name(figure) {
  return figure.replace("_", " ");
}

/** Three digits that matter, at most three after the point. */
function brief(value) {
  return String(Number(Math.abs(value) < 0.1 ? value.toFixed(3) : value.toPrecision(3)));
}
