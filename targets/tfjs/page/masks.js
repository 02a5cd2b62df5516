// Masks at the picture's own resolution, computed only inside their boxes: edgeseg/postprocess/masks.py.
// A mask is the sign of coefficients x prototypes, interpolated once, with exact sub-cell offsets.

/** Where pixel centres `from`..`to` of the picture lie on the prototype map: cell before, and part of the way to the next. */
function axis(from, to, scale, padding, cellsPerPixel, count) {
  const cell = new Int32Array(to - from);
  const part = new Float32Array(to - from);
  for (let i = from; i < to; i++) {
    const centre = (i + 0.5) * scale + padding;
    // Outside the outermost cells' centres their own value holds.
    const position = Math.min(Math.max(centre * cellsPerPixel - 0.5, 0), count - 1);
    cell[i - from] = Math.min(Math.floor(position), count - 2);
    part[i - from] = position - cell[i - from];
  }
  return { cell, part };
}

/** Logits of the cells under a box: (rows, columns), row by row. */
function logitsOf(prototypes, coefficients, top, left, rows, columns) {
  const logits = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let at = ((top + row) * prototypes.width + left + column) * prototypes.channels;
      let sum = 0;
      for (let channel = 0; channel < prototypes.channels; channel++) sum += coefficients[channel] * prototypes.data[at++];
      logits[row * columns + column] = sum;
    }
  }
  return logits;
}

/**
 * The bitmap of one instance: the pixels whose upper left corners lie in the box.
 * @param {{data: Float32Array, height: number, width: number, channels: number}} prototypes over the whole letterbox
 * @param {Float32Array} coefficients one for each channel
 * @param {number[]} box x1, y1, x2, y2 in picture pixels, inside the picture
 * @param {object} place of the picture in the letterbox
 * @returns {{left: number, top: number, width: number, height: number, bits: Uint8Array}} bits row by row, 1 inside
 */
export function cropMask(prototypes, coefficients, box, place) {
  const [x1, y1, x2, y2] = box.map(Math.ceil);
  const width = Math.max(x2 - x1, 0);
  const height = Math.max(y2 - y1, 0);
  const bits = new Uint8Array(width * height);
  const mask = { left: x1, top: y1, width, height, bits };
  if (!bits.length) return mask;
  const { scale, imageSize } = place;
  const across = axis(x1, x2, scale[1], place.left, prototypes.width / imageSize[1], prototypes.width);
  const down = axis(y1, y2, scale[0], place.top, prototypes.height / imageSize[0], prototypes.height);
  const [firstRow, firstColumn] = [down.cell[0], across.cell[0]];
  const rows = down.cell[height - 1] + 2 - firstRow;
  const columns = across.cell[width - 1] + 2 - firstColumn;
  const logits = logitsOf(prototypes, coefficients, firstRow, firstColumn, rows, columns);
  const wide = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let x = 0; x < width; x++) {
      const at = row * columns + across.cell[x] - firstColumn;
      wide[row * width + x] = logits[at] + (logits[at + 1] - logits[at]) * across.part[x];
    }
  }
  for (let y = 0; y < height; y++) {
    const above = (down.cell[y] - firstRow) * width;
    const part = down.part[y];
    for (let x = 0; x < width; x++) {
      const high = wide[above + x];
      bits[y * width + x] = high + (wide[above + width + x] - high) * part > 0 ? 1 : 0;
    }
  }
  return mask;
}
