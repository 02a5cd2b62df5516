// Runs a graph model in Node. Frames on stdin and stdout: four bytes of length, JSON, then as many bytes as it says.
// node node.mjs MODULES FOLDER BACKEND

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { Network } from "../page/network.js";

// Standard output belongs to the frames.
console.log = console.info = console.debug = console.error;

const [modules, folder, backend] = process.argv.slice(2);
const load = createRequire(path.join(modules, "package.json"));

/** The model's files as TensorFlow.js wants them. */
async function artifacts() {
  const model = JSON.parse(await readFile(path.join(folder, "model.json"), "utf8"));
  const groups = model.weightsManifest;
  const shards = await Promise.all(groups.flatMap((group) => group.paths).map((name) => readFile(path.join(folder, name))));
  const joined = Buffer.concat(shards);
  const weightData = joined.buffer.slice(joined.byteOffset, joined.byteOffset + joined.length);
  const { modelTopology, format, signature, userDefinedMetadata } = model;
  const weightSpecs = groups.flatMap((group) => group.weights);
  return { modelTopology, format, signature, userDefinedMetadata, weightSpecs, weightData };
}

function send(header, parts = []) {
  const text = Buffer.from(JSON.stringify({ ...header, bytes: parts.reduce((sum, part) => sum + part.length, 0) }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  process.stdout.write(Buffer.concat([length, text, ...parts]));
}

/** Inputs, one after the other, of a stream of frames that hold nothing but bytes: four of length, then as many. */
async function* inputs() {
  let chunks = [];
  let held = 0;
  let wanted = null;
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
    held += chunk.length;
    for (;;) {
      if (wanted === null && held >= 4) {
        const all = Buffer.concat(chunks);
        wanted = all.readUInt32LE();
        chunks = [all.subarray(4)];
        held -= 4;
      }
      if (wanted === null || held < wanted) break;
      const all = Buffer.concat(chunks);
      yield Float32Array.from(new Float32Array(all.buffer.slice(all.byteOffset, all.byteOffset + wanted)));
      chunks = [all.subarray(wanted)];
      held -= wanted;
      wanted = null;
    }
  }
}

async function serve() {
  const tf = { ...load("@tensorflow/tfjs-core"), ...load("@tensorflow/tfjs-converter") };
  const package_ = load(`@tensorflow/tfjs-backend-${backend}`);
  if (backend === "wasm") package_.setWasmPaths(path.join(path.dirname(load.resolve("@tensorflow/tfjs-backend-wasm")), path.sep));
  const network = await Network.load(tf, { load: artifacts }, backend);
  send({ execution: { ...network.execution, runtime: `node ${process.versions.node}` } });
  for await (const input of inputs()) {
    const outputs = await network.run(input);
    const names = Object.keys(outputs);
    const shapes = names.map((name) => [1, outputs[name].height, outputs[name].width, outputs[name].channels]);
    const parts = names.map((name) => Buffer.from(outputs[name].data.buffer, outputs[name].data.byteOffset, outputs[name].data.byteLength));
    send({ names, shapes }, parts);
  }
}

serve().catch((error) => {
  send({ error: String(error?.message ?? error) });
  process.exitCode = 1;
});
