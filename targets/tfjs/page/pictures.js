// Pictures from files, from the clipboard, and from the camera, as pixels.

const LARGEST = 16_000_000; // pixels: some phones draw no larger canvas

/** A file's picture, upright, in its own pixel values. @returns {Promise<ImageBitmap>} */
export async function bitmapOf(file) {
  // A colour profile is left alone, as everywhere else where this network is run.
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options);
  const shrink = Math.sqrt(LARGEST / (bitmap.width * bitmap.height));
  if (shrink >= 1) return bitmap;
  const size = { resizeWidth: Math.floor(bitmap.width * shrink), resizeHeight: Math.floor(bitmap.height * shrink) };
  bitmap.close();
  return createImageBitmap(file, { ...options, ...size, resizeQuality: "high" });
}

/** Draw a picture on a canvas, which takes its size. */
export function put(source, canvas) {
  canvas.width = source.videoWidth || source.width;
  canvas.height = source.videoHeight || source.height;
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(source, 0, 0);
}

/** What is on a canvas. @returns {ImageData} */
export function pixelsOf(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
}

/** The first picture among dropped or pasted things. @returns {File | undefined} */
export const pictureIn = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

/** Offer some content as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The camera: frames, one at a time, as fast as the network takes them. */
export class Camera {
  #stream = null;

  constructor(video) {
    this.video = video;
  }

  /** Ask for the camera on the back where there is one. */
  async start() {
    if (!navigator.mediaDevices) throw new Error("The camera needs an address that begins with https:// or localhost.");
    this.#stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    this.video.srcObject = this.#stream;
    await this.video.play();
  }

  get running() {
    return this.#stream !== null;
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.video.srcObject = null;
  }
}
