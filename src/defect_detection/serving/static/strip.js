// The row of small pictures of Inspect.
import { WORDS, shape } from "./verdict.js";

const strip = document.getElementById("strip");

/** Add the small picture of an item; `open` is called when it is pressed, `unshown` when this browser can't show it. */
export function addSmall(item, { open, unshown }) {
  const picture = Object.assign(new Image(), { src: item.url, alt: "" });
  picture.addEventListener("error", () => {
    picture.replaceWith(kindOf(item.file));
    unshown();
  });
  item.button = document.createElement("button");
  item.button.type = "button";
  item.button.append(picture);
  item.button.addEventListener("click", open);
  markSmall(item);
  const entry = document.createElement("li");
  entry.append(item.button);
  strip.append(entry);
}

/** Put the verdict on the small picture. */
export function markSmall({ button, file, result, error }) {
  const verdict = result?.verdict;
  button.querySelector("svg")?.remove();
  if (verdict) button.append(shape(verdict));
  button.classList.toggle("failed", Boolean(error));
  button.ariaLabel = `${file.name}: ${verdict ? WORDS[verdict] : error ? "no verdict" : "waiting"}`;
}

/** Show an item whose address is another one now. */
export function showSmall({ button, url }) {
  button.querySelector("span, img").replaceWith(Object.assign(new Image(), { src: url, alt: "" }));
}

/** Mark the item that is shown, and bring its small picture to the middle; nothing but the strip moves. */
export function currentSmall(items, index) {
  items.forEach(({ button }, i) => (button.ariaCurrent = i === index ? "true" : null));
  const { offsetLeft, offsetWidth } = items[index].button;
  strip.scrollLeft = offsetLeft + offsetWidth / 2 - strip.clientWidth / 2;
}

export function clearSmalls() {
  strip.replaceChildren();
}

/** In the place of a picture that this browser can't show: what kind of file it is. */
function kindOf(file) {
  const place = document.createElement("span");
  place.textContent = file.name.includes(".") ? file.name.split(".").at(-1).slice(0, 4).toUpperCase() : "?";
  return place;
}
