// The camera of this device, where the browser gives it away: on localhost and over https. It stays on until it is stopped.

const HAS_CAMERA = Boolean(navigator.mediaDevices?.getUserMedia);
const $ = (id) => document.getElementById(id);

/** Make the buttons of the camera work. `taken(file)` gets each picture, `complain(error)` why there is none. */
export function prepareCamera({ taken, complain }) {
  $("camera").hidden = !HAS_CAMERA;
  $("no-camera").hidden = HAS_CAMERA;
  $("camera").addEventListener("click", () => begin().catch(complain));
  $("stop").addEventListener("click", stop);
  $("shoot").addEventListener("click", async () => taken(await takePicture()));
}

export function isOn() {
  return !$("video").hidden;
}

/** Show the camera. Throws an Error in words when there is none, or it was refused. */
async function begin() {
  try {
    const wanted = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch (error) {
    const refused = error.name === "NotAllowedError";
    throw new Error(refused
      ? "The browser blocks the camera for this page: allow it beside the address, then try again."
      : `No camera could be started (${error.message || error.name}). Check that a camera is connected and that no other program uses it.`);
  }
  for (const id of ["drop", "camera"]) $(id).hidden = true;
  for (const id of ["video", "shutter"]) $(id).hidden = false;
  $("shoot").focus({ preventScroll: true });
  $("stage").scrollIntoView({ block: "nearest" });
}

function stop() {
  $("video").srcObject?.getTracks().forEach((track) => track.stop());
  $("video").srcObject = null;
  for (const id of ["video", "shutter"]) $(id).hidden = true;
  $("camera").hidden = false;
  $("drop").hidden = !$("frame").hidden || !$("unshown").hidden;
  $("camera").focus();
}

/** Return what the camera shows now, as a JPEG file. */
async function takePicture() {
  const video = $("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  const time = new Date().toISOString().slice(0, 23).replaceAll(":", "-");
  return new File([blob], `camera-${time}.jpg`, { type: "image/jpeg" });
}
