// An image as this browser can show it: the file itself, or what the server draws of it where the browser can't (TIFF).
import { address, imageUrl, keyHeaders } from "./api.js";

/** Return an address for an <img> of a listed inspection. */
export async function pictureOf({ id, image }) {
  const url = await imageUrl(image);
  try {
    await Object.assign(new Image(), { src: url }).decode();
    return url;
  } catch {
    URL.revokeObjectURL(url);
    return imageUrl(`/inspections/${id}/preview`);
  }
}

/** Return an address for the page that decided of what was just inspected; null without a key that allows it. Never asks for one. */
export async function drawnOf({ id, page }) {
  const path = address(`/inspections/${id}/preview`) + (page > 1 ? `?page=${page}` : "");
  const response = await fetch(path, { headers: keyHeaders() }).catch(() => null);
  return response?.ok ? URL.createObjectURL(await response.blob()) : null;
}
