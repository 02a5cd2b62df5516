// Masks, boxes and labels on a canvas above the picture.

import { classColor, css, inkOn } from "./colors.js";

const OPACITY = 0.45;
const DIMMED = 0.25; // of an instance beside the one that stands out

const tints = new WeakMap(); // mask to its canvas: pointing at instances redraws all of them

/**
 * Draw instances on a cleared canvas of the picture's size, larger ones first.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./decode.js").Instance[]} instances
 * @param {{names: string[], masks: boolean, boxes: boolean, labels: boolean, lit: number}} view `lit` is the index of
 *   the instance to stand out, -1 for none
 */
export function drawInstances(canvas, instances, view) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  // Lines and letters keep their size on the screen, whatever the picture's.
  const pixel = canvas.width / (canvas.clientWidth || canvas.width);
  const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
  const order = instances.map((_, index) => index).sort((a, b) => area(instances[b]) - area(instances[a]));
  const dimmed = (index) => view.lit >= 0 && view.lit !== index;
  for (const index of order) {
    const { box, mask, classId } = instances[index];
    const color = classColor(classId);
    context.globalAlpha = dimmed(index) ? DIMMED : 1;
    if (view.masks && mask.bits.length) context.drawImage(tinted(mask, color), mask.left, mask.top);
    if (view.boxes) drawBox(context, box, css(color), (index === view.lit ? 3 : 2) * pixel);
  }
  context.globalAlpha = 1;
  if (!view.labels) return;
  const taken = [];
  instances.forEach((instance, index) => {
    if (!dimmed(index)) drawLabel(context, instance, view.names, pixel, taken);
  });
}

/** A mask as a small canvas: tinted inside, with an opaque edge. */
function tinted(mask, color) {
  if (tints.has(mask)) return tints.get(mask);
  const { width, height, bits } = mask;
  const image = new ImageData(width, height);
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && bits[y * width + x];
  const edge = Math.max(1, Math.round(Math.max(width, height) / 300));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!bits[y * width + x]) continue;
      const core = inside(x - edge, y) && inside(x + edge, y) && inside(x, y - edge) && inside(x, y + edge);
      const at = (y * width + x) * 4;
      for (let part = 0; part < 3; part++) image.data[at + part] = core ? color[part] : (color[part] + 255) / 2;
      image.data[at + 3] = 255 * (core ? OPACITY : 0.9);
    }
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  tints.set(mask, canvas);
  return canvas;
}

function drawBox(context, [x1, y1, x2, y2], color, line) {
  context.strokeStyle = color;
  context.lineWidth = line;
  context.strokeRect(x1 + line / 2, y1 + line / 2, Math.max(x2 - x1 - line, 1), Math.max(y2 - y1 - line, 1));
}

/** Class and score on a patch at the box, at the first place that is clear of other labels. */
function drawLabel(context, { box, classId, score }, names, pixel, taken) {
  const text = `${names[classId]} ${Math.round(score * 100)} %`;
  context.font = `600 ${12.5 * pixel}px system-ui, sans-serif`;
  const width = context.measureText(text).width + 10 * pixel;
  const height = 20 * pixel;
  const left = Math.max(0, Math.min(box[0], context.canvas.width - width));
  const tops = [box[1] - height, box[1], box[1] + height, box[3] - height, box[3]];
  const inside = tops.filter((top) => top >= 0 && top + height <= context.canvas.height);
  const clear = (top) =>
    taken.every((other) => left >= other.left + other.width || other.left >= left + width || Math.abs(top - other.top) >= height);
  const top = inside.find(clear) ?? inside[0] ?? 0;
  taken.push({ left, top, width });
  const color = classColor(classId);
  context.fillStyle = css(color);
  context.beginPath();
  context.roundRect(left, top, width, height, 4 * pixel);
  context.fill();
  context.fillStyle = inkOn(color);
  context.textBaseline = "middle";
  context.fillText(text, left + 5 * pixel, top + height / 2 + pixel / 2);
}

/** Index of the smallest instance whose mask covers a pixel; -1 where there is none. */
export function instanceAt(instances, x, y) {
  let found = -1;
  let least = Infinity;
  instances.forEach(({ mask }, index) => {
    const column = Math.floor(x) - mask.left;
    const row = Math.floor(y) - mask.top;
    const hit = column >= 0 && row >= 0 && column < mask.width && row < mask.height && mask.bits[row * mask.width + column];
    if (hit && mask.bits.length < least) [found, least] = [index, mask.bits.length];
  });
  return found;
}
