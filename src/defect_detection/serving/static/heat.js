// The image with its evidence map over it: clear where a defect is less likely than not, yellow to red where it is more likely.
// Scaled as `heat_scale` of report/figures.py does.

const STOPS = [[255, 214, 90], [250, 130, 40], [214, 30, 50]]; // weak to strong, as in reports
const MOST = 0.85; // opacity of the strongest
const KEPT = "defect-detection-heat"; // what the slider was set to on this device, in %
const [frame, image, canvas, slider] = ["frame", "image", "heat", "opacity"].map((id) => document.getElementById(id));

/** Give the frame the image's ratio and the heat the slider's opacity. `shown` and `unshown` are called when an image is there, or can't be. */
export function prepareStage({ shown = () => {}, unshown }) {
  image.addEventListener("load", () => {
    frame.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    shown();
  });
  image.addEventListener("error", unshown);
  slider.value = localStorage.getItem(KEPT) ?? 70;
  slider.addEventListener("input", fade);
  slider.addEventListener("change", () => localStorage.setItem(KEPT, slider.value));
  fade();
}

function fade() {
  slider.ariaValueText = `${slider.value} %`;
  canvas.style.opacity = slider.value / 100;
}

/** Draw a map of log-odds (rows of numbers, higher = more defective) of an image with this verdict over the part that it covers. */
export function drawHeat({ values: rows, extent: [left, top, across, down] }, verdict) {
  const [height, width] = [rows.length, rows[0].length];
  const values = rows.flat();
  const [low, high] = scale(values, verdict);
  const pixels = new ImageData(width, height);
  values.forEach((value, i) => pixels.data.set(colour(Math.max(value - low, 0) / Math.max(high - low, 1e-6)), 4 * i));
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(pixels, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  const { width: wide, height: tall } = canvas;
  context.drawImage(small, left * wide, top * tall, across * wide, down * tall);
}

/** Heat begins at even odds; what isn't OK as a whole, though no cell is defective alone, shows its most defective half. */
function scale(values, verdict) {
  const high = Math.max(...values);
  if (high > 0 || verdict === "ok") return [0, Math.max(high, 0)];
  return [values.toSorted((a, b) => a - b)[values.length >> 1], high];
}

/** Show the image without heat. */
export function clearHeat() {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

function colour(strength) {
  const at = strength * (STOPS.length - 1);
  const i = Math.min(Math.floor(at), STOPS.length - 2);
  const mixed = STOPS[i].map((from, channel) => from + (STOPS[i + 1][channel] - from) * (at - i));
  return [...mixed, 255 * MOST * strength ** 1.2];
}
