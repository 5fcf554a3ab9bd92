// What the gate decided about a version, and the report behind it.
import { address, keyHeaders, send } from "./api.js";
import { saveUrl } from "./csv.js";
import { el } from "./dom.js";

const WORDS = { promote: "promoted", hold: "held", "insufficient evidence": "not enough evidence" };

/** The gate's word in short: "held". */
export function outcomeWord(outcome) {
  return WORDS[outcome] ?? outcome;
}

/** Figures on the test images with their fractions: { accuracy, escapes, overkill }, each a text or null. */
export function figuresOf(one) {
  return {
    accuracy: one?.accuracy ?? one?.tags?.test_correct ?? null,
    escapes: one?.escapes ?? one?.tags?.test_escapes ?? null,
    overkill: one?.overkill ?? one?.tags?.test_overkill ?? null,
  };
}

/** A link to a report. A link can't send a key: with one, the report is fetched and saved. */
export function reportLink(path, label) {
  const save = async (event) => {
    if (!Object.keys(keyHeaders()).length) return;
    event.preventDefault();
    saveUrl(`${label}.html`, URL.createObjectURL(await (await send(path)).blob()));
  };
  return el("a", { href: address(path), target: "_blank", rel: "noopener", "aria-label": label, click: save }, "Report");
}
