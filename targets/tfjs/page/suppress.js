// Greedy non-maximum suppression, class by class: edgeseg/postprocess/nms.py.

/** Intersection over union of two boxes [x1, y1, x2, y2]; 0 where both are empty. */
function iou(a, b) {
  const width = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const height = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const inside = width * height;
  const union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside;
  return union > 0 ? inside / union : 0;
}

/**
 * Those candidates that no better one of their class overlaps by more than `threshold`.
 * @template {{box: number[], classId: number}} T
 * @param {T[]} found best score first
 * @param {number} threshold of IoU
 * @param {number} limit at most this many
 * @returns {T[]}
 */
export function suppress(found, threshold, limit) {
  const kept = [];
  for (const candidate of found) {
    if (kept.length === limit) break;
    const covered = kept.some((other) => other.classId === candidate.classId && iou(other.box, candidate.box) > threshold);
    if (!covered) kept.push(candidate);
  }
  return kept;
}
