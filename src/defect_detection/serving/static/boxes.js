// The boxes of an image: rectangles over it, and in words.
import { el } from "./dom.js";
import { percent } from "./verdict.js";

const $ = (id) => document.getElementById(id);

/** Draw boxes over the image in the frame. `size`: width and height of the original image, in whose pixels they are. */
export function drawBoxes(boxes, [width, height]) {
  $("boxes").replaceChildren(...boxes.map(({ box: [left, top, wide, high] }) => {
    const drawn = el("div", {});
    const place = { left: left / width, top: top / height, width: wide / width, height: high / height };
    for (const [side, share] of Object.entries(place)) drawn.style[side] = `${100 * share}%`;
    return drawn;
  }));
}

export function clearBoxes() {
  $("boxes").replaceChildren();
}

/** Say how many boxes there are, and where the strongest is; "" without any. */
export function boxesInWords(boxes, ignored = 0) {
  const small = ignored ? `${ignored} smaller ${ignored === 1 ? "area" : "areas"} ignored` : "";
  if (!boxes.length) return small;
  const [{ box: [left, top, width, height], share, box_mm: mm }] = boxes;
  const size = mm ? `${mm[2]} × ${mm[3]} mm` : `${width} × ${height} px`;
  const strongest = `${size} at ${left}, ${top} px (${percent(share, 0)} of the evidence)`;
  const found = boxes.length === 1 ? `1 defect area: ${strongest}` : `${boxes.length} defect areas, the strongest ${strongest}`;
  return [found, small].filter(Boolean).join("; ");
}
