// The letterbox: resize with the aspect ratio kept, centre, pad with grey. The same rules as edgeseg/data/letterbox.py.
// Coordinates are continuous: pixel i covers [i, i + 1), its centre is i + 0.5.

/** Python's round: a half goes to the even neighbour. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Where a picture goes in a letterbox. All sizes are [height, width] in pixels.
 * @param {[number, number]} pictureSize
 * @param {[number, number]} imageSize of the letterbox
 */
export function geometry(pictureSize, imageSize) {
  const [height, width] = pictureSize;
  const ratio = Math.min(imageSize[0] / height, imageSize[1] / width);
  const resized = [height, width].map((side) => Math.max(1, roundHalfEven(side * ratio)));
  // An odd row or column of padding goes below or to the right.
  const top = Math.floor((imageSize[0] - resized[0]) / 2);
  const left = Math.floor((imageSize[1] - resized[1]) / 2);
  const scale = [resized[0] / height, resized[1] / width];
  return { pictureSize, imageSize, resized, top, left, scale };
}

const ONE = 2048; // of the fixed-point weights below

/** For each target pixel along one axis: the source pixel before its centre, the one after, and the weights of both. */
function axis(target, source) {
  const first = new Int32Array(target);
  const second = new Int32Array(target);
  const weights = [new Int32Array(target), new Int32Array(target)];
  const scale = 1 / (target / source);
  for (let i = 0; i < target; i++) {
    const position = Math.fround((i + 0.5) * scale - 0.5);
    const before = Math.floor(position);
    const part = Math.fround(position - before);
    // Outside the outermost centres both are the outermost pixel.
    first[i] = Math.min(Math.max(before, 0), source - 1);
    second[i] = Math.min(Math.max(before + 1, 0), source - 1);
    weights[0][i] = roundHalfEven(Math.fround(1 - part) * ONE);
    weights[1][i] = roundHalfEven(part * ONE);
  }
  return { first, second, weights };
}

/**
 * A letterboxed picture as the network's input: (H, W, 3) RGB, 8-bit values times `scale`.
 *
 * Interpolated here and not by the browser, whose own resizing differs between browsers and blurs before it shrinks.
 * The arithmetic is that of OpenCV's linear resize for 8 bits, to the bit: one level more or less in every tenth value
 * moves scores by a hundredth, and the network is to see what it sees in Python.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} picture RGBA, as ImageData holds it
 * @param {ReturnType<typeof geometry>} place of the picture
 * @param {{pad_value: number, scale: number}} preprocessing
 * @returns {Float32Array}
 */
export function letterbox(picture, place, preprocessing) {
  const [height, width] = place.imageSize;
  const levels = Float32Array.from({ length: 256 }, (_, value) => value * Math.fround(preprocessing.scale));
  const input = new Float32Array(height * width * 3).fill(levels[preprocessing.pad_value]);
  const across = axis(place.resized[1], picture.width);
  const down = axis(place.resized[0], picture.height);
  const [rows, columns] = place.resized;
  const upper = new Int32Array(columns * 3);
  const lower = new Int32Array(columns * 3);
  for (let y = 0; y < rows; y++) {
    stretchRow(picture, down.first[y], across, upper);
    stretchRow(picture, down.second[y], across, lower);
    const [above, below] = [down.weights[0][y], down.weights[1][y]];
    const start = ((y + place.top) * width + place.left) * 3;
    for (let i = 0; i < columns * 3; i++) {
      const sum = ((above * (upper[i] >> 4)) >> 16) + ((below * (lower[i] >> 4)) >> 16);
      input[start + i] = levels[(sum + 2) >> 2];
    }
  }
  return input;
}

/** One row of the picture, interpolated along it, in fixed point. */
function stretchRow({ data, width }, row, across, out) {
  const start = row * width * 4;
  const [before, after] = across.weights;
  for (let x = 0, at = 0; x < before.length; x++) {
    const left = start + across.first[x] * 4;
    const right = start + across.second[x] * 4;
    for (let channel = 0; channel < 3; channel++) {
      out[at++] = data[left + channel] * before[x] + data[right + channel] * after[x];
    }
  }
}

/** A box [x1, y1, x2, y2] from letterbox pixels to picture pixels, clipped to the picture. */
export function toPicture(box, place) {
  const [height, width] = place.pictureSize;
  const x = (value) => Math.min(Math.max((value - place.left) / place.scale[1], 0), width);
  const y = (value) => Math.min(Math.max((value - place.top) / place.scale[0], 0), height);
  return [x(box[0]), y(box[1]), x(box[2]), y(box[3])];
}
