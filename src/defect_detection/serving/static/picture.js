// An image as this browser can show it: the file itself, or what the server draws of it where the browser can't (TIFF).
import { address, imageUrl, keyHeaders, send } from "./api.js";

/** Return an address for an <img> of a listed inspection. */
export async function pictureOf(one) {
  return (await sizedPictureOf(one)).url;
}

/** Return such an address as `url`, and as `size` width and height of the original image, in whose pixels its boxes are. */
export async function sizedPictureOf({ id, image }) {
  const url = await imageUrl(image);
  const shown = Object.assign(new Image(), { src: url });
  try {
    await shown.decode();
    return { url, size: [shown.naturalWidth, shown.naturalHeight] };
  } catch {
    URL.revokeObjectURL(url);
    const drawn = await send(`/inspections/${id}/preview`);
    return { url: URL.createObjectURL(await drawn.blob()), size: drawn.headers.get("Image-Size").split(" ").map(Number) };
  }
}

/** Return an address for the page that decided of what was just inspected; null without a key that allows it. Never asks for one. */
export async function drawnOf({ id, page }) {
  const path = address(`/inspections/${id}/preview`) + (page > 1 ? `?page=${page}` : "");
  const response = await fetch(path, { headers: keyHeaders() }).catch(() => null);
  return response?.ok ? URL.createObjectURL(await response.blob()) : null;
}
