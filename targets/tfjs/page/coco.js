// Instances as COCO results, the same that `edgeseg predict --json` writes: edgeseg/rle.py.

const GROUP_BITS = 5;
const MORE = 0x20;
const SIGN = 0x10;
const FIRST_CHARACTER = 48;

/** Lengths of the runs, column by column, that begins with the pixels outside. */
function runLengths(mask, height, width) {
  const counts = [];
  let inside = 0;
  let run = mask.left * height;
  for (let x = 0; x < mask.width; x++) {
    run += mask.top;
    for (let y = 0; y < mask.height; y++) {
      const bit = mask.bits[y * mask.width + x];
      if (bit !== inside) {
        counts.push(run);
        run = 0;
        inside = bit;
      }
      run += 1;
    }
    const below = height - mask.top - mask.height;
    if (inside && (mask.top > 0 || below > 0)) {
      counts.push(run);
      run = 0;
      inside = 0;
    }
    run += below;
  }
  const rest = (width - mask.left - mask.width) * height;
  if (inside && rest) {
    counts.push(run);
    run = 0;
  }
  if (run + rest) counts.push(run + rest);
  return counts;
}

/** Run lengths as text: each, less the one two places before it from the fourth on, in groups of five bits. */
function compressed(counts) {
  let text = "";
  counts.forEach((count, index) => {
    let value = index > 2 ? count - counts[index - 2] : count;
    for (let more = true; more; ) {
      let group = value & (MORE - 1);
      value >>= GROUP_BITS;
      more = group & SIGN ? value !== -1 : value !== 0;
      if (more) group |= MORE;
      text += String.fromCharCode(group + FIRST_CHARACTER);
    }
  });
  return text;
}

/**
 * COCO results of one picture.
 * @param {import("./decode.js").Instance[]} instances
 * @param {string[]} names of the classes
 * @param {[number, number]} size [height, width] of the picture
 * @param {string} fileName of the picture
 */
export function toCoco(instances, names, size, fileName) {
  return instances.map(({ box: [x1, y1, x2, y2], score, classId, mask }) => ({
    image_id: 0,
    category_id: classId,
    bbox: [x1, y1, x2 - x1, y2 - y1],
    score,
    segmentation: { size, counts: compressed(runLengths(mask, ...size)) },
    file_name: fileName,
    class_id: classId,
    class_name: names[classId],
  }));
}
