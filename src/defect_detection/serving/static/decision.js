// What the gate decided about a version, and the report behind it.
import { address, hasKey, send } from "./api.js";
import { saveUrl } from "./csv.js";
import { el } from "./dom.js";

const WORDS = { promote: "promoted", passed: "passed", hold: "held", "insufficient evidence": "not enough evidence" };

/** The gate's word in short: "held". */
export function outcomeWord(outcome) {
  return WORDS[outcome] ?? outcome;
}

/** Figures of a version on the test images with their fractions: { accuracy, escapes, overkill }, each a text or null. */
export function figuresOf(version) {
  const tags = version?.tags ?? {};
  return { accuracy: tags.test_correct ?? null, escapes: tags.test_escapes ?? null, overkill: tags.test_overkill ?? null };
}

/** The latest evaluation of a version, as the history has it; undefined where there is none. */
export function decisionOn(version, history) {
  const isOfProduct = version.name === history?.name;
  const isAbout = ({ candidate_run_id: run, after }) => (run && version.run_id ? run === version.run_id : isOfProduct && after === version.version);
  return history?.entries.find((entry) => entry.kind === "evaluation" && isAbout(entry));
}

/** A link to a report. A link can't send a key: with one, the report is fetched and saved. */
export function reportLink(path, label) {
  const save = async (event) => {
    if (!hasKey()) return;
    event.preventDefault();
    saveUrl(`${label}.html`, URL.createObjectURL(await (await send(path)).blob()));
  };
  return el("a", { href: address(path), target: "_blank", rel: "noopener", "aria-label": label, click: save }, "Report");
}
