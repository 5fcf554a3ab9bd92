// Choose a line, a station and a model version. The choice is part of the address, so that each screen at a line has its bookmark.
import { el } from "./dom.js";

const form = document.getElementById("places");
const NAMES = ["line", "station", "model_version"];
const known = new Map(NAMES.map((name) => [name, new Set()]));

/** Return what is chosen, as the server takes it. */
export function chosen() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
}

/** Offer what there is to choose from: { line: [...], station: [...], model_version: [...] }. What was offered once stays. */
export function offer(values) {
  const now = chosen();
  for (const name of NAMES) {
    const all = known.get(name);
    for (const value of [...(values[name] ?? []), ...(now[name] ? [now[name]] : [])]) all.add(String(value));
    fillField(form.elements[name], all, now[name] ?? "");
  }
  form.hidden = NAMES.every((name) => form.elements[name].parentElement.hidden);
}

/** Call a function when another choice was made. */
export function onChoice(changed) {
  form.addEventListener("change", () => {
    const query = new URLSearchParams(location.search);
    for (const name of NAMES) {
      query.delete(name);
      if (form.elements[name].value) query.set(name, form.elements[name].value);
    }
    const text = query.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
    changed();
  });
}

function fillField(field, all, value) {
  const options = [...all].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  field.parentElement.hidden = options.length < 2 && !value;
  if (field.options.length !== options.length + 1) field.replaceChildren(el("option", { value: "" }, "all"), ...options.map((one) => el("option", { value: one }, one)));
  field.value = value;
}
