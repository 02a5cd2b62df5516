// The network in a worker, so that the page answers while it computes. One request after the other.

/** Finds the instances of pictures. */
export class Segmenter {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #number = 0;

  /** @param {(part: number) => void} onProgress told how much of the weights has come, 0..1 */
  constructor(onProgress) {
    this.#worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) {
        onProgress(data.progress);
        return;
      }
      const { resolve, reject } = this.#waiting.get(data.number);
      this.#waiting.delete(data.number);
      if (data.error === undefined) resolve(data.result);
      else reject(new Error(data.error));
    };
    this.#worker.onerror = (event) => this.#fail(event.message || "a script beside this page is missing");
  }

  /** Backends that this browser can start. @returns {Promise<string[]>} */
  backends() {
    return this.#ask("backends");
  }

  /** Load the network, or load it anew with another backend; answers with its metadata and what it runs on. */
  start(backend) {
    return this.#ask("start", { backend });
  }

  /**
   * Run the network on a picture; the picture's memory goes to the worker.
   * @param {ImageData} picture
   * @param {{score: number}} options
   */
  find(picture, options) {
    const { data, width, height } = picture;
    return this.#ask("find", { data, width, height, options }, [data.buffer]);
  }

  /** The instances of the last picture by other thresholds, without running the network again. */
  again(options) {
    return this.#ask("again", { options });
  }

  #ask(kind, content = {}, transfer = []) {
    const number = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#worker.postMessage({ number, kind, ...content }, transfer);
    });
  }

  #fail(message) {
    for (const { reject } of this.#waiting.values()) reject(new Error(message));
    this.#waiting.clear();
  }
}
