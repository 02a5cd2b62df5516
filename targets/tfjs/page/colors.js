// Colours of the classes, the same as in edgeseg/draw.py: a set that colour-blind readers can tell apart, then any number.

const TABLE = [
  [86, 180, 233],
  [230, 159, 0],
  [0, 158, 115],
  [240, 228, 66],
  [0, 114, 178],
  [213, 94, 0],
  [204, 121, 167],
];
const GOLDEN_ANGLE = 0.618034;
const TONES = [
  [0.75, 0.95],
  [0.95, 0.65],
  [0.45, 1.0],
];
const EQUAL_CONTRAST_LUMINANCE = 0.179; // black and white stand out alike on this (WCAG 2.1)

/** RGB of a class, 0..255 each. */
export function classColor(classId) {
  if (classId < TABLE.length) return TABLE[classId];
  const [saturation, value] = TONES[classId % TONES.length];
  const sector = ((classId * GOLDEN_ANGLE) % 1) * 6;
  // Parts of the colour circle at which red, green and blue are full.
  return [5, 3, 1].map((shift) => {
    const place = (shift + sector) % 6;
    return Math.round(255 * value * (1 - saturation * Math.max(0, Math.min(place, 4 - place, 1))));
  });
}

/** A CSS colour. */
export const css = ([red, green, blue], opacity = 1) => `rgb(${red} ${green} ${blue} / ${opacity})`;

/** Black or white, whichever stands out on a colour. */
export function inkOn(color) {
  const [red, green, blue] = color.map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > EQUAL_CONTRAST_LUMINANCE ? "#000" : "#fff";
}
