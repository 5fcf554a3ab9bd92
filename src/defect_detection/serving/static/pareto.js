// Monitor: the types of defects as a Pareto chart, over time and by line.
import { get } from "./api.js";
import { el, fill, table } from "./dom.js";
import { percent } from "./verdict.js";

const $ = (id) => document.getElementById(id);
const MOST = 10; // types in the chart; the others are one bar

/** Ask for the types of the same time and filters as the page, and draw them; hidden where no model named any. */
export async function refreshTypes(query, times) {
  const found = await get(`/statistics/types?${query}`);
  $("types").hidden = found.typed === 0;
  if (found.typed) draw(found, times);
}

function draw({ types, lines, periods, typed }, times) {
  const rows = shortened(types);
  const most = rows[0].count;
  fill($("t-chart"), el("ol", { class: "pareto", "aria-label": "Types of defects, the most frequent first" }, rows.map((one) => bar(one, most))));
  $("t-sum").textContent = `Inspections that are not OK and have a type: ${typed}, ${most} of them ${rows[0].type}.`;
  const names = types.slice(0, MOST).map(({ type }) => type);
  const cells = (counts) => names.map((name) => counts[name] ?? "–");
  const byLine = lines.map(({ line, counts }) => ({ cells: [line || "without a line", ...cells(counts)] }));
  const used = periods.map(({ counts }, i) => ({ counts, time: times[i] })).filter(({ counts }) => Object.keys(counts).length);
  fill($("t-lines"), table("Types by line", ["Line", ...names], byLine));
  fill($("t-periods"), table("Types over time; periods without a type are left out", ["From", ...names], used.map(({ time, counts }) => ({ cells: [time, ...cells(counts)] }))));
}

function shortened(types) {
  if (types.length <= MOST) return types;
  const rest = types.slice(MOST - 1);
  const count = rest.reduce((sum, one) => sum + one.count, 0);
  const share = rest.reduce((sum, one) => sum + one.share, 0);
  return [...types.slice(0, MOST - 1), { type: `${rest.length} more types`, count, share, cumulative: 1 }];
}

function bar({ type, count, share, cumulative }, most) {
  const drawn = el("span", { class: "length" });
  drawn.style.width = `${(100 * count) / most}%`;
  const figures = `${count.toLocaleString()} · ${percent(share, 0)} · together ${percent(cumulative, 0)}`;
  return el("li", {}, el("span", { class: "name" }, type), el("span", { class: "track", "aria-hidden": "true" }, drawn), el("span", { class: "quiet" }, figures));
}
