"""Changes to a `.tflite` file's tables that the converters leave to do: names, inlined constants, unsigned edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeseg.tensors import INPUT_NAME

from .flatbuffer import IDENTIFIER

SIGNATURE = b"serving_default"
"""The name under which TensorFlow's own converters write a network's one signature."""

ALIGNMENT = 16
"""Of constants in the file, in bytes, as the schema asks; the generated writer aligns them to four."""


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A constant that lies in the flatbuffer itself, at a multiple of `ALIGNMENT`."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the generated class calls it so
        """Write it; as `flatbuffers.Builder.CreateNumpyVector`, with another alignment."""
        payload = self.data.tobytes()
        builder.StartVector(1, len(payload), ALIGNMENT)
        builder.head -= len(payload)
        builder.Bytes[builder.head : builder.head + len(payload)] = payload
        builder.vectorNumElems = len(payload)
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def loaded(data: bytes) -> Any:
    """A file as a tree of objects. Constants that lie behind the flatbuffer, where readers of 2023 do not look, come
    into it."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(data))
    for index, buffer in enumerate(model.buffers):
        if buffer.offset > 1:
            content = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
        else:
            content = np.asarray([] if buffer.data is None else buffer.data, np.uint8)
        model.buffers[index] = _AlignedBuffer(content) if content.size else schema.BufferT()
    return model


def dumped(model: Any) -> bytes:
    """The file; the same tree gives the same bytes."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def name_ends(model: Any, outputs: Sequence[str]) -> None:
    """Give the tensors at both ends, and the signature's entries, the names of the contract.

    Args:
        model: with one signature, whose outputs are in the order of the traced module's.
        outputs: their names.
    """
    (signature,) = model.signatureDefs
    (entry,) = signature.inputs
    by_place = {int(mapped.name.rpartition(b"_")[2]): mapped for mapped in signature.outputs}
    signature.signatureKey = SIGNATURE
    named = [(entry, INPUT_NAME), *((by_place[place], name) for place, name in enumerate(outputs))]
    for mapped, name in named:
        mapped.name = name.encode()
        model.subgraphs[0].tensors[mapped.tensorIndex].name = name.encode()
    signature.outputs = [mapped for mapped, _ in named[1:]]
    model.subgraphs[0].outputs = [mapped.tensorIndex for mapped in signature.outputs]
    # The rest by their place: the converter's names carry paths of modules, and count what it made before.
    ends = {mapped.tensorIndex for mapped, _ in named}
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        if index not in ends:
            tensor.name = b"t%d" % index


def set_metadata(model: Any, name: str, text: str) -> None:
    """Write a text under a name, in the place that the schema has for what others want to keep in a file."""
    model.metadata = [entry for entry in model.metadata or [] if entry.name != name.encode()]
    model.buffers.append(_AlignedBuffer(np.frombuffer(text.encode(), np.uint8)))
    model.metadata.append(schema.MetadataT(name.encode(), len(model.buffers) - 1))


def show(model: Any, tensors: Sequence[int]) -> None:
    """Make outputs of these tensors, to look at them; the signature, which knows nothing of them, goes."""
    model.subgraphs[0].outputs = list(tensors)
    model.signatureDefs = []


def unsign_edges(model: Any) -> None:
    """Make int8 inputs and outputs uint8: an operator at each end moves the values by 128."""
    graph = model.subgraphs[0]
    (signature,) = model.signatureDefs
    code = _operator_code(model, schema.BuiltinOperator.QUANTIZE)
    for ends, mapped, is_input in (
        (graph.inputs, signature.inputs, True),
        (graph.outputs, signature.outputs, False),
    ):
        for place, inner in enumerate(list(ends)):
            outer = _unsigned_twin(graph, inner)
            ends[place] = outer
            for entry in mapped:
                entry.tensorIndex = outer if entry.tensorIndex == inner else entry.tensorIndex
            between = schema.OperatorT(
                opcodeIndex=code,
                inputs=[outer if is_input else inner],
                outputs=[inner if is_input else outer],
                builtinOptionsType=schema.BuiltinOptions.QuantizeOptions,
                builtinOptions=schema.QuantizeOptionsT(),
            )
            graph.operators.insert(0 if is_input else len(graph.operators), between)


def _unsigned_twin(graph: Any, inner: int) -> int:
    """A uint8 tensor with the same real values and the name of an int8 one; returns its number."""
    signed = graph.tensors[inner]
    scales = signed.quantization
    quantisation = schema.QuantizationParametersT(
        scale=list(scales.scale), zeroPoint=[int(point) + 128 for point in scales.zeroPoint]
    )
    name, signed.name = signed.name, signed.name + b"_int8"
    graph.tensors.append(
        schema.TensorT(
            shape=signed.shape,
            type=schema.TensorType.UINT8,
            buffer=0,
            name=name,
            quantization=quantisation,
            hasRank=True,
        )
    )
    return len(graph.tensors) - 1


def _operator_code(model: Any, operator: int) -> int:
    """The number of an operator in this file, added where it has none."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == operator:
            return index
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=operator, version=1, builtinCode=operator))
    return len(model.operatorCodes) - 1
