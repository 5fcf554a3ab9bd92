// Monitor: the line beside its model, verdicts, reject rate with control limits, latency and scores over time.
import { get } from "./api.js";
import { bars, isOutside, lines, mark, pChart } from "./chart.js";
import { el } from "./dom.js";
import { refreshLine } from "./line.js";
import { chosen, offer, onChoice } from "./places.js";
import { refreshTypes } from "./pareto.js";
import { poll } from "./poll.js";
import { percent, shape } from "./verdict.js";

const $ = (id) => document.getElementById(id);
const HOUR = 3600e3;
const SPANS = { day: { n: 24, step: HOUR }, week: { n: 28, step: 6 * HOUR }, month: { n: 30, step: 24 * HOUR } };
const REFRESH_MS = 30000;
const MIN_PARTS = 100; // fewer say nothing about a reject rate

let span = "day";
let newest = 0; // of requests: an answer that comes late isn't drawn
let drawn = null;

async function refresh() {
  const number = ++newest;
  const [since, until] = time(SPANS[span]);
  try {
    const query = new URLSearchParams({ since: since.toISOString(), until: until.toISOString(), periods: SPANS[span].n, ...chosen() });
    const figures = await get(`/statistics?${query}`);
    if (number !== newest) return;
    drawn = figures;
    offer({ line: figures.lines, station: figures.stations, model_version: figures.periods.flatMap(({ models }) => models.map(({ version }) => version)) });
    $("problem").hidden = true;
    draw();
    await refreshTypes(query, figures.periods.map(({ since }) => inFull(new Date(since))));
  } catch (error) {
    if (number !== newest) return;
    $("problem").textContent = error.message;
    $("problem").hidden = false;
    $("loading").hidden = true;
  }
}

/** The last whole periods and the one that runs, on this device's clock. */
function time({ n, step }) {
  const offset = new Date().getTimezoneOffset() * 60e3;
  const until = Math.ceil((Date.now() + 1 - offset) / step) * step + offset;
  return [new Date(until - n * step), new Date(until)];
}

function draw() {
  if (!drawn) return;
  $("loading").hidden = true;
  $("clock").hidden = !drawn.clock;
  $("clock").textContent = drawn.clock ?? "";
  $("nothing").hidden = drawn.inspected > 0;
  $("figures").hidden = drawn.inspected === 0;
  if (!drawn.inspected) return;
  const labels = drawn.periods.map(({ since }) => label(new Date(since)));
  const times = drawn.periods.map(({ since }) => inFull(new Date(since)));
  const axis = { labels, times };
  const rate = (value) => `${Number((100 * value).toFixed(1))}\u00a0%`;
  renderAlarm(times);
  renderTiles();
  const changes = modelChanges(drawn.periods);
  const rates = pChart($("p-chart"), drawn.periods, drawn.reject_rate, axis, rate);
  for (const [i, names] of changes) mark(rates, i, names.map(({ version }) => `v${version}`).join(", "), changed(names, times[i]));
  $("p-changes").textContent = changes.map(([i, names]) => changed(names, times[i])).join(" ");
  renderTable(times);
  const parts = drawn.review ? ["ok", "defective", "review"] : ["ok", "defective"];
  $("v-legend").replaceChildren(...parts.map((verdict) => el("span", {}, shape(verdict), `${drawn[verdict]} ${verdict === "ok" ? "OK" : verdict}`)));
  bars($("v-chart"), drawn.periods, parts.map((verdict) => [verdict, verdict]), axis, `Verdicts per period: ${drawn.ok} OK, ${drawn.defective} defective, ${drawn.review} for review.`);
  const bins = drawn.scores.map((inspections) => ({ inspections }));
  const n = bins.length;
  const ranges = bins.map((_, i) => `${percent(i / n, 0)} to ${percent((i + 1) / n, 0)}`);
  const scores = [...bins, null].map((_, i) => (i % 5 ? "" : percent(i / n, 0)));
  const heaps = bars($("s-chart"), bins, [["inspections", "score"]], { labels: scores, times: ranges, edges: true }, `Inspections by score: ${drawn.scores.slice(0, n / 4).reduce((a, b) => a + b)} below 25 %, ${drawn.scores.slice((3 * n) / 4).reduce((a, b) => a + b)} from 75 %.`);
  const decides = drawn.periods.findLast(({ models }) => models.length).models.at(-1);
  mark(heaps, decides.threshold * n, `threshold ${percent(decides.threshold)}`, `${decides.name} ${decides.version}: parts with at least this score are defective`);
  $("s-threshold").textContent = `The dashed line is the decision threshold of ${decides.name} ${decides.version}: parts with a score of at least ${percent(decides.threshold)} are defective.`;
  lines($("l-chart"), [[drawn.periods.map((one) => one.p95_ms), "p95"], [drawn.periods.map((one) => one.p50_ms), "p50"]], labels, `Latency: median ${ms(drawn.p50_ms)}, 95th percentile ${ms(drawn.p95_ms)}.`);
}

/** Where another model decided than before: [period, models]. */
function modelChanges(periods) {
  let last = null;
  return periods.flatMap(({ models }, i) => {
    const fresh = models.filter((model) => {
      const before = last;
      last = model;
      return before && (before.name !== model.name || before.version !== model.version);
    });
    return fresh.length ? [[i, fresh]] : [];
  });
}

function changed(models, when) {
  return `${when}: ${models.map(({ name, version }) => `${name} ${version}`).join(", then ")} decides.`;
}

/** What stands below the axis: hours of one day, else the day where it begins. */
function label(moment) {
  if (span === "day") return clock(moment);
  return span === "month" || moment.getHours() === 0 ? day(moment) : "";
}

function inFull(moment) {
  return { day: clock(moment), week: `${day(moment)}, ${clock(moment)}`, month: day(moment) }[span];
}

function clock(moment) {
  return moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
}

function day(moment) {
  return moment.toLocaleDateString([], { day: "numeric", month: "short" });
}

function renderAlarm(times) {
  const outside = drawn.periods.flatMap((one, i) => (isOutside(one) ? [`${times[i]} (${percent(one.reject_rate)})`] : []));
  const [kind, text] = tooFew() ? ["", tooFew()] : said(outside);
  $("alarm").className = `notice ${kind}`;
  $("alarm-shape").replaceChildren(...(kind ? [shape(kind === "bad" ? "defective" : "ok")] : []));
  if ($("alarm-text").textContent !== text) $("live").textContent = text;
  $("alarm-text").textContent = text;
}

/** Why nothing can be said about the reject rate, or "". */
function tooFew() {
  const { inspected, periods } = drawn;
  if (inspected < MIN_PARTS)
    return `Too few to tell: ${inspected} ${inspected === 1 ? "part was" : "parts were"} inspected in this period. The reject rate is assessed from ${MIN_PARTS} parts on.`;
  if (periods.filter((one) => one.inspected).length < 2)
    return "Too early to tell: all parts were inspected in a single period, so there is nothing to compare.";
  return "";
}

function said(outside) {
  if (!outside.length) return ["good", "The reject rate stayed within its control limits."];
  return ["bad", `The reject rate left its control limits at ${outside.join(", ")}. Check what changed: parts, light, camera or model.`];
}

function renderTiles() {
  const { inspected, defective, review, reject_rate, p50_ms, p95_ms, labelled, escapes, overkill } = drawn;
  $("tiles").replaceChildren(
    tile("Inspected", inspected.toLocaleString(), review ? `${review} of them for review` : "none left for review"),
    tile("Reject rate", percent(reject_rate), `${defective} of ${inspected} defective`),
    tile("Latency", ms(p50_ms), `95 % within ${ms(p95_ms)}`),
    tile("Labelled by people", labelled.toLocaleString(), labelled ? `${escapes} escapes (model OK, person defective), ${overkill} overkill (model defective, person OK)` : "Label images in Review"),
  );
}

function tile(name, figure, more) {
  const box = document.createElement("div");
  box.className = "tile";
  for (const [tag, text, kind] of [["h2", name, ""], ["p", figure, "big"], ["p", more, "quiet"]]) {
    const element = document.createElement(tag);
    element.textContent = text;
    element.className = kind;
    box.append(element);
  }
  return box;
}

function renderTable(times) {
  const names = ["From", "Inspected", "OK", "Defective", "Review", "Reject rate", "Lower limit", "Upper limit", "Outside"];
  const used = drawn.periods.map((one, i) => ({ ...one, time: times[i] })).filter((one) => one.inspected);
  const rows = used.map((one) => [
    one.time, one.inspected, one.ok, one.defective, one.review,
    ...[one.reject_rate, one.low, one.high].map((rate) => percent(rate)), isOutside(one) ? "yes" : "",
  ]);
  const table = $("table");
  table.replaceChildren();
  table.createCaption().textContent = used.length < drawn.periods.length ? "Periods without inspections are left out." : "";
  const head = table.createTHead().insertRow();
  head.append(...names.map((name, i) => Object.assign(document.createElement("th"), { textContent: name, scope: "col", className: i ? "number" : "" })));
  const body = table.createTBody();
  for (const [first, ...others] of rows) {
    const row = body.insertRow();
    row.append(Object.assign(document.createElement("th"), { textContent: first, scope: "row" }));
    for (const value of others) Object.assign(row.insertCell(), { textContent: value, className: "number" });
  }
}

function ms(value) {
  return value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0ms`;
}

for (const button of document.querySelectorAll("[data-span]"))
  button.addEventListener("click", () => {
    span = button.dataset.span;
    for (const other of document.querySelectorAll("[data-span]")) other.ariaPressed = String(other === button);
    refresh();
  });
onChoice(refresh);
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(draw, 150);
});
poll(refresh, REFRESH_MS);
poll(() => refreshLine($("line")), REFRESH_MS);
