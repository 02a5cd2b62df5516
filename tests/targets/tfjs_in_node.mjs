// Runs a function of the page's modules on what a JSON file says; prints its answer as JSON.
// node tfjs_in_node.mjs REQUEST

import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const request = JSON.parse(await readFile(process.argv[2], "utf8"));
const { classColor } = await page("colors.js");
const { toCoco } = await page("coco.js");
const { instancesOf } = await page("decode.js");
const { geometry, letterbox } = await page("letterbox.js");
const { suppress } = await page("suppress.js");

function page(name) {
  return import(pathToFileURL(`${request.page}/${name}`).href);
}

async function floats(path) {
  const bytes = await readFile(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

const actions = {
  colors: ({ count }) => Array.from({ length: count }, (_, classId) => classColor(classId)),

  async letterbox({ picture, size, imageSize, preprocessing, output }) {
    const data = new Uint8ClampedArray(await readFile(picture));
    const place = geometry(size, imageSize);
    const input = letterbox({ data, width: size[1], height: size[0] }, place, preprocessing);
    await writeFile(output, Buffer.from(input.buffer));
    return place;
  },

  async decode({ tensors, size, imageSize, names, options }) {
    const outputs = {};
    for (const { name, path, shape } of tensors) {
      const [height, width, channels] = shape;
      outputs[name] = { data: await floats(path), height, width, channels };
    }
    const instances = instancesOf(outputs, geometry(size, imageSize), options);
    return toCoco(instances, names, size, "picture.png");
  },

  coco: ({ mask, size }) => toCoco([{ box: [0, 0, 1, 1], score: 1, classId: 0, mask }], ["thing"], size, "")[0].segmentation,

  suppress: ({ boxes, classIds, iou, limit }) =>
    suppress(boxes.map((box, index) => ({ box, classId: classIds[index], index })), iou, limit).map(({ index }) => index),
};

process.stdout.write(JSON.stringify(await actions[request.action](request)));
