// Runs beside the page: letterbox, network, decoding.

import { instancesOf } from "./decode.js";
import { geometry, letterbox } from "./letterbox.js";
import { availableBackends, loadLibrary } from "./library.js";
import { Network } from "./network.js";

const LIBRARY = new URL("../tfjs/", import.meta.url).href;
const MODEL = new URL("../model.json", import.meta.url).href;
const DEFAULTS = { iou: 0.7, maxDetections: 300 }; // as edgeseg predict

let network = null;
let last = null; // outputs and place of the last picture

const actions = {
  backends: availableBackends,

  async start({ backend }) {
    network?.dispose();
    network = null;
    const tf = await loadLibrary(LIBRARY, backend);
    network = await Network.load(tf, MODEL, backend, (progress) => postMessage({ progress }));
    const { metadata } = network;
    // The first run compiles: on a black picture, so that no picture's time counts it.
    const [height, width] = metadata.image_size;
    await network.run(new Float32Array(height * width * 3));
    return { metadata, execution: network.execution };
  },

  async find({ data, width, height, options }) {
    const { image_size, preprocessing } = network.metadata;
    const place = geometry([height, width], image_size);
    const start = performance.now();
    const outputs = await network.run(letterbox({ data, width, height }, place, preprocessing));
    last = { outputs, place, networkMs: performance.now() - start };
    return decoded(options);
  },

  again: ({ options }) => decoded(options),
};

/** Instances of the last picture. */
function decoded(options) {
  const start = performance.now();
  const instances = instancesOf(last.outputs, last.place, { ...DEFAULTS, ...options });
  return { instances, networkMs: last.networkMs, decodeMs: performance.now() - start };
}

/** Do what a message asks, and answer with its number. */
async function answer({ number, kind, ...content }) {
  try {
    const result = await actions[kind](content);
    const masks = result.instances?.map(({ mask }) => mask.bits.buffer) ?? [];
    postMessage({ number, result }, masks);
  } catch (error) {
    postMessage({ number, error: String(error?.message ?? error) });
  }
}

// One after the other: `last` belongs to the one that runs.
let turn = Promise.resolve();
onmessage = ({ data }) => {
  turn = turn.then(() => answer(data));
};
