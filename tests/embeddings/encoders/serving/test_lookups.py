from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.encoders.serving.lookups import look_up_first
from embeddings.encoders.serving.openvino_runtime import load_openvino

ROWS = 6
SOURCE = np.random.default_rng(5)
BYTES = SOURCE.integers(0, 127, (ROWS, ROWS)).astype(np.int8)
SCALES = SOURCE.uniform(0.5, 2, ROWS).astype(np.float32)
ZEROS = np.arange(ROWS, dtype=np.uint8).reshape(ROWS, 1)
PLACES = np.array([[0, 5, 2], [3, 3, 1]], np.int64)


def network(stored: NDArray[Any], *steps: tuple[str, NDArray[Any]], axis: int = 0) -> Any:
    """A look-up in a table that is stored narrow and widened by `steps`."""
    openvino = load_openvino()
    from openvino import opset13 as ops

    places = ops.parameter([-1, -1], np.int64, name="places")
    table = ops.convert(ops.constant(stored), "f32")
    for kind, by in steps:
        table = getattr(ops, kind)(table, ops.convert(ops.constant(by), "f32"))
    found = ops.gather(table, places, ops.constant(np.int64(axis)))
    return openvino.Model([ops.result(found)], [places], "look-up")


def whole_tables(model: Any) -> list[str]:
    """What makes numbers of every row."""
    return [
        node.get_type_name()
        for node in model.get_ops()
        if node.get_type_name() in {"Convert", "Subtract", "Multiply"}
        and node.get_output_partial_shape(0) == load_openvino().PartialShape([ROWS, ROWS])
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], BYTES),
        ([("multiply", SCALES.reshape(ROWS, 1))], BYTES * SCALES.reshape(ROWS, 1)),
        ([("multiply", SCALES.reshape(1, ROWS))], BYTES * SCALES),
        ([("multiply", SCALES)], BYTES * SCALES),
        (
            [("subtract", ZEROS), ("multiply", SCALES.reshape(ROWS, 1))],
            (BYTES - ZEROS.astype(np.float32)) * SCALES.reshape(ROWS, 1),
        ),
    ],
    ids=["converted", "scaled by row", "scaled by column", "scaled by vector", "with zeros"],
)
@pytest.mark.parametrize("stored", [np.int8, np.uint8, np.float16])
def test_rows_are_looked_up_before_they_are_widened(
    stored: type[np.generic], steps: list[tuple[str, NDArray[Any]]], expected: NDArray[Any]
) -> None:
    model = network(BYTES.astype(stored), *steps)
    assert whole_tables(model)

    assert look_up_first(model) == 1

    assert whole_tables(model) == []
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    found = load_openvino().Core().compile_model(model, "CPU", precision)(PLACES)[0]
    np.testing.assert_allclose(found, expected[PLACES], rtol=1e-6)


def test_look_ups_along_columns_and_in_tables_that_grow_stay_as_they_are() -> None:
    scales = ("multiply", SCALES.reshape(ROWS, 1))
    assert look_up_first(network(BYTES, scales, axis=1)) == 0
    assert look_up_first(network(BYTES[:1], scales)) == 0
