// A verdict in colour, word and shape: nobody has to tell red from green.

export const WORDS = { ok: "OK", defective: "Defective", review: "Review" };
export const MEANS = { ok: "no defect found", defective: "a defect was found", review: "close to the threshold: a person decides" };

const OUTLINES = {
  ok: ["M24 3a21 21 0 1 0 0 42 21 21 0 0 0 0-42Z", "m14 25 7 7 13-15"],
  defective: ["M15.5 3h17L45 15.5v17L32.5 45h-17L3 32.5v-17Z", "m16 16 16 16M32 16 16 32"],
  review: ["M24 4 46 43H2Z", "M24 18v12M24 36v.5"],
};

/** Return the shape as an SVG element: circle with a tick, octagon with a cross, triangle with a mark. */
export function shape(verdict) {
  const [outline, mark] = OUTLINES[verdict];
  return svg("svg", { viewBox: "0 0 48 48", class: `shape ${verdict}`, "aria-hidden": "true" }, [
    svg("path", { d: outline, class: "outline" }),
    svg("path", { d: mark, class: "mark" }),
  ]);
}

/** Make an SVG element. */
export function svg(name, attributes = {}, children = []) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Show a verdict in a panel that holds #shape, #word and #why; null empties it. */
export function showVerdict(panel, verdict, word, why) {
  panel.dataset.verdict = verdict ?? "none";
  panel.querySelector("#shape").replaceChildren(...(verdict ? [shape(verdict)] : []));
  panel.querySelector("#word").textContent = word;
  panel.querySelector("#why").textContent = why;
}

/** Write P(defective) as people read it; the unit stays on the line of its number. */
export function percent(score, digits = 1) {
  return `${(100 * score).toFixed(digits)}\u00a0%`;
}
