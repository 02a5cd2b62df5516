// The graph model in TensorFlow.js. Needs `tf` with tfjs-core, tfjs-converter and one backend loaded.

/** A loaded network. */
export class Network {
  /**
   * @param {object} tf TensorFlow.js
   * @param {string | object} source address of model.json, or an IOHandler
   * @param {string} backend wasm, webgl, webgpu or cpu, whose package is loaded
   * @param {(part: number) => void} [onProgress] told how much of the weights has come, 0..1
   */
  static async load(tf, source, backend, onProgress) {
    if (!(await started(tf, backend))) throw new Error(`The backend ${backend} does not start here.`);
    const model = await tf.loadGraphModel(source, { onProgress });
    return new Network(tf, model, JSON.parse(model.metadata.edgeseg));
  }

  constructor(tf, model, metadata) {
    this.tf = tf;
    this.model = model;
    this.metadata = metadata;
  }

  /**
   * Run on one picture.
   * @param {Float32Array} input (1, H, W, 3) RGB in 0..1
   * @returns {Promise<Object<string, {data: Float32Array, height: number, width: number, channels: number}>>} logits
   */
  async run(input) {
    const { tf, model, metadata } = this;
    const names = metadata.outputs.map((spec) => spec.name);
    const image = tf.tensor4d(input, [1, ...metadata.image_size, 3]);
    let tensors = [];
    try {
      tensors = tf.tidy(() => model.execute({ [metadata.inputs[0].name]: image }, names));
      const arrays = await Promise.all(tensors.map((tensor) => tensor.data()));
      return Object.fromEntries(
        tensors.map(({ shape: [, height, width, channels] }, index) => [
          names[index],
          { data: arrays[index], height, width, channels },
        ]),
      );
    } finally {
      tf.dispose([image, tensors]);
    }
  }

  /** What computes: for a report. */
  get execution() {
    const { tf } = this;
    const about = { backend: tf.getBackend(), tfjs: tf.version_core };
    if (about.backend === "webgl" && !tf.env().getBool("WEBGL_RENDER_FLOAT32_ENABLED")) about.arithmetic = "fp16";
    return about;
  }

  dispose() {
    this.model.dispose();
  }
}

/** Whether the backend starts; some say no by an error. */
async function started(tf, backend) {
  try {
    const found = await tf.setBackend(backend);
    await tf.ready();
    return found && tf.getBackend() === backend;
  } catch {
    return false;
  }
}
