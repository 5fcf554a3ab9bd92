// Make elements, tables and times.

/** Make an element: el("p", { class: "quiet" }, "text", child). Handlers are functions: { click: run }. Null children are left out. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/** Replace what an element holds. Null children are left out, as `el` does: the DOM would write the word "null". */
export function fill(place, ...children) {
  place.replaceChildren(...children.flat().filter((child) => child != null));
}

/** Make a table whose rows become cards on a phone, without the cells that hold "–" only. Roles are given because its display there would take them away. */
export function table(caption, columns, rows) {
  const head = columns.map((column) => el("th", { scope: "col", role: "columnheader" }, column));
  const body = rows.map(({ cells, ...attributes }) =>
    el("tr", { role: "row", ...attributes }, cells.map((cell, i) => el("td", { role: "cell", "data-label": columns[i], class: cell === "–" ? "none" : null }, el("div", {}, cell)))),
  );
  return el(
    "table",
    { class: "stacks", role: "table" },
    el("caption", { class: "hidden" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
    el("tbody", { role: "rowgroup" }, body),
  );
}

/** Make a definition list of [term, text or element]; those without a text are left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value != null && value !== "");
  return el("dl", { class: "facts" }, known.map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]).flat());
}

/** Show a moment in the reader's own zone. */
export function moment(iso) {
  const shown = new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return el("time", { datetime: iso }, shown);
}

/** Write so many seconds as people read them. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Write a range of seconds as people say it: "30 to 60 seconds", "2 to 5 minutes". */
export function range(low, high) {
  const [unit, size] = [["hours", 3600], ["minutes", 60], ["seconds", 1]].find(([, size]) => high >= 2 * size) ?? ["seconds", 1];
  const rough = (seconds) => Math.max(1, size === 1 ? 5 * Math.round(seconds / 5) : Math.round(seconds / size));
  return rough(low) === rough(high) ? `${rough(high)} ${unit}` : `${rough(low)} to ${rough(high)} ${unit}`;
}

/** Show a long text by its beginning, with the rest behind a click. */
export function brief(text, most = 140) {
  if (text.length <= most) return text;
  const cut = text.lastIndexOf(" ", most);
  return el("details", {}, el("summary", {}, `${text.slice(0, cut > 0 ? cut : most)} …`), el("p", {}, text));
}

/** Make a notice: kind "", "bad" or "good". What stands between backticks is shown as code. */
export function notice(text, kind = "") {
  return el("p", { class: `notice ${kind}` }, el("span", {}, coded(text)));
}

/** Make the parts of a text, with what stands between backticks as code. */
export function coded(text) {
  return text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}
