"""Nodes and weights of an ONNX graph, collected one operator at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from embeddings.encoders.base import EncoderError

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

OPSET: Final = 17
IR_VERSION: Final = 9
MICROSOFT: Final = "com.microsoft"
INT8_LIMIT: Final = 127


class GraphBuilder:
    """Appends nodes; most methods return the name of the new node's output.

    `precision` is that of the matrix products inside the layers: `fp32` or `int8`.
    """

    def __init__(self, weights: Weights, precision: str) -> None:
        self.weights = weights
        self._precision = precision
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def model(self, output: str, *inputs: onnx.ValueInfoProto, dimension: int) -> onnx.ModelProto:
        """The finished model, `output` renamed to `embeddings`."""
        self._nodes.append(helper.make_node("Identity", [output], ["embeddings"]))
        result = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", dimension])
        graph = helper.make_graph(
            self._nodes, "tower", list(inputs), [result], list(self._initializers.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self._initializers:
            array = np.asarray(value, order="C")
            self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def ints(self, *values: int) -> str:
        return self.constant(f"ints{values}", np.array(values, np.int64))

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A standard operator of one output."""
        return self._node(operator, inputs, 1, "", attributes)[0]

    def fused(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A kernel of ONNX Runtime of one output."""
        return self._node(operator, inputs, 1, MICROSOFT, attributes)[0]

    def split(self, x: str, parts: int, width: int) -> list[str]:
        """Columns of `x` (rows, parts · width) as `parts` outputs."""
        sizes = self.ints(*[width] * parts)
        return self._node("Split", (x, sizes), parts, "", {"axis": 1})

    def linear(self, x: str, *names: str) -> str:
        """`x` (rows, in) through stacked projections, without their bias."""
        matrix = np.concatenate([self.weights[f"{name}.weight"] for name in names])
        return self._product(x, matrix, names, "")

    def linear_bias(self, x: str, name: str) -> str:
        """`x` (rows, in) through a projection and its bias."""
        matrix = self.weights[f"{name}.weight"]
        return self._product(x, matrix, (name,), self.bias(name))

    def exact(self, x: str, name: str) -> str:
        """`x` (rows, in) through a projection without bias, in fp32 always."""
        return self.op("Gemm", x, self.constant(f"{name}.t", self.weights[f"{name}.weight"].T))

    def bias(self, *names: str) -> str:
        """The bias of stacked projections."""
        values = np.concatenate([self.weights[f"{name}.bias"] for name in names])
        return self.constant("+".join(names) + ".bias", values)

    def layer_norm(self, x: str, name: str, epsilon: float) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", x, scale, bias, epsilon=epsilon)

    def add_norm(
        self, x: str, residual: str, bias: str, name: str, epsilon: float
    ) -> tuple[str, str]:
        """(layer norm of the sum, the sum) of `x` + `residual` + `bias`."""
        inputs = (x, residual, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), bias)
        outputs = self._node("SkipLayerNormalization", inputs, 4, MICROSOFT, {"epsilon": epsilon})
        return outputs[0], outputs[3]

    def activation(self, x: str, name: str) -> str:
        if name == "quick_gelu":
            return self.fused("QuickGelu", x, alpha=1.702)
        if name == "gelu":
            return self.fused("Gelu", x)
        raise EncoderError(
            f"The model's activation {name!r} has no ONNX form here: use the encoder backend "
            f"embeddings.encoders.preparing.transformers_encoder.TransformersEncoder for it."
        )

    def _product(
        self, x: str, matrix: NDArray[np.float32], names: tuple[str, ...], bias: str
    ) -> str:
        """`x` times the transposed `matrix` (out, in), plus `bias`."""
        key = "+".join(names)
        biases = [bias] if bias else []
        if self._precision == "fp32":
            return self.op("Gemm", x, self.constant(f"{key}.t", matrix.T), *biases)
        product = self._int8_product(x, matrix, key)
        return self.op("Add", product, bias) if bias else product

    def _int8_product(self, x: str, matrix: NDArray[np.float32], key: str) -> str:
        """The product in 8 bits: weights by output, activations by row, both symmetric.

        A scale for every row of `x` costs a twentieth more time than ONNX Runtime's own
        DynamicQuantizeMatMul, which has one scale for all rows: there a vector would depend on
        what else is in its batch, and one token of large values would coarsen all others.
        """
        scales = np.abs(matrix).max(axis=1) / np.float32(INT8_LIMIT)
        scales[scales == 0] = 1
        quantised = np.rint(matrix / scales[:, None]).astype(np.int8).T
        limit = self.constant("int8_limit", np.array(INT8_LIMIT, np.float32))
        middle = self.constant("uint8_middle", np.array([128], np.uint8))
        largest = self.op("ReduceMax", self.op("Abs", x), axes=[1], keepdims=1)
        rows = self.op("Div", largest, limit)
        row_scales = self.op("Reshape", rows, self.ints(-1))
        middles = self.op("Expand", middle, self.op("Shape", row_scales))
        # Where a row is all zeros its scale is zero: whatever its bytes then are, times it is zero.
        product = self.fused(
            "MatMulIntegerToFloat",
            self.op("QuantizeLinear", x, row_scales, middles, axis=0),
            self.constant(f"{key}.int8", quantised),
            self.constant("one", np.array(1, np.float32)),
            self.constant(f"{key}.scale", scales),
            middle,
        )
        return self.op("Mul", product, rows)

    def _node(
        self,
        operator: str,
        inputs: tuple[str, ...],
        outputs: int,
        domain: str,
        attributes: dict[str, Any],
    ) -> list[str]:
        name = f"{operator}_{len(self._nodes)}"
        names = [f"{name}_{index}" for index in range(outputs)]
        self._nodes.append(
            helper.make_node(operator, list(inputs), names, name=name, domain=domain, **attributes)
        )
        return names
