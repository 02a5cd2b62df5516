// From the network's ten raw outputs to instances. The rules are those of edgeseg/postprocess, and a test holds both
// together. Outputs are logits, channels last: name to {data: Float32Array, height, width, channels}.

import { toPicture } from "./letterbox.js";
import { cropMask } from "./masks.js";
import { suppress } from "./suppress.js";

const LEVELS = [
  ["p3", 8],
  ["p4", 16],
  ["p5", 32],
];
const BINS = 16;
const LIMIT = 30000; // candidates, as in the published evaluation

/**
 * @typedef {{box: number[], score: number, classId: number, mask: ReturnType<typeof cropMask>}} Instance
 * Box x1, y1, x2, y2 in picture pixels.
 */

/**
 * The instances of one picture, best score first.
 * @param {Object<string, {data: Float32Array, height: number, width: number, channels: number}>} outputs
 * @param {object} place of the picture in the letterbox, `geometry`
 * @param {{score: number, iou: number, maxDetections: number}} options
 * @returns {Instance[]}
 */
export function instancesOf(outputs, place, options) {
  const found = LEVELS.flatMap(([level, stride]) => candidates(outputs, level, stride, options.score));
  // Sorting is stable: equal scores keep their place.
  found.sort((a, b) => b.score - a.score);
  const kept = suppress(found.slice(0, LIMIT), options.iou, options.maxDetections);
  return kept.flatMap(({ box, score, classId, coefficients }) => {
    const inPicture = toPicture(box, place).map(Math.fround);
    // A box that lies wholly in the padding is clipped to nothing.
    if (inPicture[2] <= inPicture[0] || inPicture[3] <= inPicture[1]) return [];
    return [{ box: inPicture, score, classId, mask: cropMask(outputs.proto, coefficients, inPicture, place) }];
  });
}

/** Points of one level whose best class is above the threshold, decoded. */
function candidates(outputs, level, stride, threshold) {
  const classes = outputs[`${level}_cls`];
  const boxes = outputs[`${level}_box`];
  const coefficients = outputs[`${level}_coef`];
  // The logistic function rises: comparing logits with the threshold's saves an exponential per point and class.
  const floor = Math.log(threshold / (1 - threshold));
  const found = [];
  for (let point = 0; point < classes.height * classes.width; point++) {
    const [classId, logit] = best(classes, point);
    if (!(logit > floor)) continue;
    found.push({
      box: boxAt(boxes, point, stride),
      score: Math.fround(1 / (1 + Math.exp(-logit))),
      classId,
      coefficients: coefficients.data.subarray(point * coefficients.channels, (point + 1) * coefficients.channels),
    });
  }
  return found;
}

/** The class of the largest logit at a point, and that logit. */
function best(classes, point) {
  const start = point * classes.channels;
  let index = 0;
  for (let channel = 0; channel < classes.channels; channel++) {
    const logit = classes.data[start + channel];
    // A NaN compares as false everywhere, and would drop objects unseen.
    if (Number.isNaN(logit)) throw new Error("The network's outputs are not numbers: choose another backend.");
    if (logit > classes.data[start + index]) index = channel;
  }
  return [index, classes.data[start + index]];
}

/** Box of a point in letterbox pixels: its four distances are means of distributions over 16 bins, in strides. */
function boxAt(boxes, point, stride) {
  const [left, top, right, bottom] = [0, 1, 2, 3].map((side) => {
    const start = point * boxes.channels + side * BINS;
    const logits = boxes.data.subarray(start, start + BINS);
    const largest = Math.max(...logits);
    let sum = 0;
    let mean = 0;
    for (let bin = 0; bin < BINS; bin++) {
      const weight = Math.exp(logits[bin] - largest);
      sum += weight;
      mean += weight * bin;
    }
    return mean / sum;
  });
  const x = (point % boxes.width) + 0.5;
  const y = Math.floor(point / boxes.width) + 0.5;
  return [x - left, y - top, x + right, y + bottom].map((value) => Math.fround(value * stride));
}
