// The types of defects that a model names.
import { percent } from "./verdict.js";

const NO_NAMES = ["other", "unknown"]; // answers that are no type of the training images

/** Return the types in words: "scratch (92 %), dent (61 %)". */
export function typesInWords(types) {
  return types.map(({ type, probability }) => (probability === null ? type : `${type} (${percent(probability, 0)})`)).join(", ");
}

/** Return the type to propose to a person; "" for none. */
export function proposed(type) {
  return type && !NO_NAMES.includes(type) ? type : "";
}
