// The camera of this device, where the browser gives it away: on localhost and over https.

export const HAS_CAMERA = Boolean(navigator.mediaDevices?.getUserMedia);

/** Show the camera in a <video>. Throws an Error in words when there is none, or it was refused. */
export async function startCamera(video) {
  try {
    const wanted = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch (error) {
    const refused = error.name === "NotAllowedError";
    throw new Error(refused
      ? "The browser was told not to give the camera to this page: allow it beside the address, then try again."
      : `No camera could be started (${error.message || error.name}). Look whether one is connected and whether another program has it.`);
  }
}

/** Turn the camera off. */
export function stopCamera(video) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
}

/** Return what the <video> shows now, as a JPEG file. */
export async function takePicture(video) {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  return new File([blob], `camera-${time}.jpg`, { type: "image/jpeg" });
}
