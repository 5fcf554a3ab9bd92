// Enlarge the image and its heat: by the wheel, by buttons and by keys. What is enlarged is moved by scrolling, dragging or arrow keys.

const MOST = 8;
const STEP = 1.5; // of a button or key
const PER_PIXEL = 1.0015; // of the wheel
const [view, frame, out, fit, closer] = ["view", "frame", "zoom-out", "zoom-fit", "zoom-in"].map((id) => document.getElementById(id));

let level = 1;

/** The keys that zoom, as `onKeys` takes them. */
export const ZOOM_KEYS = { "+": () => zoom(level * STEP), "=": () => zoom(level * STEP), "-": () => zoom(level / STEP), 0: () => zoom(1) };

/** Make the buttons, the wheel and dragging work. */
export function prepareZoom() {
  closer.addEventListener("click", ZOOM_KEYS["+"]);
  out.addEventListener("click", ZOOM_KEYS["-"]);
  fit.addEventListener("click", ZOOM_KEYS[0]);
  view.addEventListener("wheel", turned, { passive: false });
  view.addEventListener("pointerdown", drag);
  showWhole();
}

/** Show the whole image again. */
export function showWhole() {
  zoom(1);
}

/** Zoom; the point of the image at `x`, `y` (of the window) stays where it is. */
function zoom(wanted, [x, y] = middle()) {
  const before = frame.getBoundingClientRect();
  const [across, down] = [(x - before.left) / before.width, (y - before.top) / before.height];
  level = Math.min(Math.max(wanted, 1), MOST);
  if (level < 1.02) level = 1;
  frame.style.setProperty("--zoom", level);
  view.classList.toggle("zoomed", level > 1);
  const after = frame.getBoundingClientRect();
  view.scrollLeft += after.left + across * after.width - x;
  view.scrollTop += after.top + down * after.height - y;
  fit.textContent = `${Math.round(100 * level)}\u00a0%`;
  fit.ariaLabel = `Show the whole image; it is at ${Math.round(100 * level)} %`;
}

function middle() {
  const { left, top, width, height } = view.getBoundingClientRect();
  return [left + width / 2, top + height / 2];
}

/** The wheel zooms at the pointer. At the smallest, turning back scrolls the page. */
function turned(event) {
  if (level === 1 && event.deltaY > 0) return;
  event.preventDefault();
  const pixels = event.deltaMode === 0 ? event.deltaY : 40 * event.deltaY;
  zoom(level * PER_PIXEL ** -pixels, [event.clientX, event.clientY]);
}

/** Move the enlarged image with the mouse; fingers scroll it by themselves. */
function drag(event) {
  if (level === 1 || event.pointerType !== "mouse" || event.button !== 0) return;
  const move = ({ movementX, movementY }) => view.scrollBy(-movementX, -movementY);
  view.setPointerCapture(event.pointerId);
  view.addEventListener("pointermove", move);
  view.addEventListener("lostpointercapture", () => view.removeEventListener("pointermove", move), { once: true });
}
