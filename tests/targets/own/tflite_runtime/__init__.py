"""Every product of the tflite target in tflite-runtime, the package of older boards: `make own-tflite-runtime`."""
