// Charts as inline SVG. `labels` stand below the axis, where there is room for them; `times` name the periods in full.
// A chart is described in words for who doesn't see it; colours come from the style sheet.
import { svg } from "./verdict.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [60, 12, 12, 28];

/** A drawing area: `x(i)` is the middle of period i, `y(value)` its height; axes are drawn. `whole`: only whole numbers beside
 *  the axis. `edges`: a label stands where its period begins, not at its middle. */
export function frame(host, { n, top, height = 260, format, labels, title, whole = false, edges = false }) {
  const width = Math.max(host.clientWidth, 300);
  const inner = { width: width - LEFT - RIGHT, height: height - TOP - BOTTOM };
  const x = (i) => LEFT + (inner.width * (i + 0.5)) / n;
  const y = (value) => TOP + inner.height * (1 - value / top);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": title });
  for (const tick of ticks(top, whole)) {
    root.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }));
    root.append(text(LEFT - 8, y(tick) + 4, format(tick), "end"));
  }
  let free = 0; // where the next label has room
  labels.forEach((label, i) => {
    const place = x(edges ? i - 0.5 : i);
    if (!label || place < free) return;
    const isLast = place + 24 > width; // it would be cut off
    root.append(text(isLast ? width : place, height - 8, label, isLast ? "end" : "middle"));
    free = place + 62;
  });
  host.replaceChildren(root);
  return { root, x, y, step: inner.width / n };
}

/** Reject rate with centre line and limits; what is outside is a diamond. */
export function pChart(host, periods, centre, { labels, times }, format) {
  const most = Math.max(...periods.map((one) => Math.max(one.reject_rate ?? 0, Math.min(one.high ?? 0, 3 * centre + 0.05))));
  const outside = periods.filter(isOutside).length;
  const title = `Reject rate in ${periods.length} periods. Mean ${format(centre)}. ${outside} outside the control limits. The table below has the figures.`;
  const { root, x, y, step } = frame(host, { n: periods.length, top: nice(most), format, labels, title });
  const clip = (value) => Math.max(TOP, y(value));
  periods.forEach((one, i) => {
    if (one.high === null) return;
    const [x1, x2] = [x(i) - step / 2, x(i) + step / 2];
    root.append(svg("rect", { x: x1, width: step, y: clip(one.high), height: y(one.low) - clip(one.high), class: "band" }));
    for (const limit of ["high", "low"]) root.append(svg("line", { x1, x2, y1: clip(one[limit]), y2: clip(one[limit]), class: "limit" }));
  });
  root.append(svg("line", { x1: x(0) - step / 2, x2: x(periods.length - 1) + step / 2, y1: y(centre), y2: y(centre), class: "centre" }));
  root.append(path(periods.map((one) => one.reject_rate), x, y, "rate"));
  periods.forEach((one, i) => one.reject_rate !== null && root.append(point(one, x(i), y(one.reject_rate), `${times[i]}: ${format(one.reject_rate)} of ${one.inspected}`)));
  return { root, x, step };
}

/** Whether chance alone hardly explains a period. */
export function isOutside(one) {
  return one.reject_rate !== null && (one.reject_rate > one.high + 1e-9 || one.reject_rate < one.low - 1e-9);
}

/** One bar per period, of stacked parts: `parts` are [name, class]. */
export function bars(host, rows, parts, { labels, times, edges }, title) {
  const top = nice(Math.max(...rows.map((row) => parts.reduce((sum, [name]) => sum + row[name], 0))));
  const area = frame(host, { n: rows.length, top, height: 220, format: (count) => count.toLocaleString(), labels, title, whole: true, edges });
  const { root, x, y, step } = area;
  rows.forEach((row, i) => {
    let below = 0;
    for (const [name, kind] of parts) {
      const bar = svg("rect", { x: x(i) - step * 0.36, width: step * 0.72, y: y(below + row[name]), height: y(below) - y(below + row[name]), class: `bar ${kind}` });
      bar.append(svg("title", {}, [`${times[i]}: ${row[name]} ${name}`]));
      if (row[name]) root.append(bar);
      below += row[name];
    }
  });
  return area;
}

/** A dashed line from bottom to top before period `at` (a fraction lies within it), with its name on top. */
export function mark({ root, x, step }, at, name, hint) {
  const place = x(at) - step / 2;
  const [width, height] = [Number(root.getAttribute("width")), Number(root.getAttribute("height"))];
  const isLate = place > width - 90; // its name would be cut off
  const line = svg("line", { x1: place, x2: place, y1: TOP, y2: height - BOTTOM, class: "mark-line" });
  const label = text(place + (isLate ? -5 : 5), TOP + 10, name, isLate ? "end" : "start");
  label.setAttribute("class", "mark-name");
  const group = svg("g", {}, [svg("title", {}, [hint]), line, label]);
  root.append(group);
}

/** Lines over the periods: `lines` are [values, class]. */
export function lines(host, all, labels, title) {
  const top = nice(Math.max(...all.flatMap(([values]) => values.map((value) => value ?? 0))));
  const { root, x, y } = frame(host, { n: labels.length, top, height: 220, format: (ms) => `${ms} ms`, labels, title });
  for (const [values, kind] of all) {
    root.append(path(values, x, y, kind));
    values.forEach((value, i) => value !== null && root.append(svg("circle", { cx: x(i), cy: y(value), r: 3, class: `dot ${kind}` })));
  }
}

function point(one, x, y, label) {
  const mark = isOutside(one)
    ? svg("path", { d: `M${x} ${y - 9}l9 9-9 9-9-9Z`, class: "outside" })
    : svg("circle", { cx: x, cy: y, r: 4, class: "inside" });
  mark.append(svg("title", {}, [label]));
  return mark;
}

/** A line with gaps where nothing is known. */
function path(values, x, y, kind) {
  let pen = "M";
  const steps = values.map((value, i) => {
    if (value === null) return (pen = "M") && "";
    const step = `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
    return step;
  });
  return svg("path", { d: steps.join(""), class: `line ${kind}` });
}

function text(x, y, content, anchor) {
  return svg("text", { x, y, "text-anchor": anchor }, [content]);
}

/** The next 1, 2, 4, 5 or 10 times a power of ten: ends an axis. */
function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= value - 1e-12);
}

/** Four or five equal steps up to the end of an axis; of counts, none smaller than 1. */
function ticks(top, whole) {
  const leading = Number(top.toExponential().split("e")[0]);
  const n = leading === 1 || leading === 5 ? 5 : 4;
  const step = whole ? Math.max(1, top / n) : top / n;
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(3)));
}
