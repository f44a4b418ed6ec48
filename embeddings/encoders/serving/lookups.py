"""Rows of a table are looked up before they are widened, so that the table stays as it is stored.

A model's embedding of tokens is int8 or float16 in its file. OpenVINO would widen all of it when it
compiles, a float32 copy a process: 100 MB for CLIP's 49,408 tokens, a gigabyte for 256,000.
"""

from __future__ import annotations

from typing import Any, Final

WIDENING: Final = frozenset({"Convert", "Subtract", "Multiply"})
"""Operations between a stored table and what is looked up in it, each row by itself."""


def look_up_first(model: Any) -> int:
    """Move what widens a table behind the look-up, in place; returns how many tables."""
    moved = 0
    for gather in [each for each in model.get_ops() if each.get_type_name() == "Gather"]:
        moved += _move(gather)
    if moved:
        model.validate_nodes_and_infer_types()
    return moved


def _move(gather: Any) -> bool:
    from openvino import opset13 as ops

    table, *places = (gather.input_value(index) for index in range(3))
    shape = table.get_partial_shape()
    steps: list[Any] = []
    while (node := table.get_node()).get_type_name() in WIDENING:
        if node.get_output_partial_shape(0) != shape:
            return False
        steps.insert(0, node)
        table = node.input_value(0)
    if not steps or node.get_type_name() != "Constant" or not _is_by_rows(gather):
        return False
    found = ops.gather(table, *places)
    for step in steps:
        kind = step.get_type_name()
        if kind == "Convert":
            found = ops.convert(found, step.get_element_type().to_string())
            continue
        by = step.input_value(1)
        if len(by.get_shape()) == len(shape) and by.get_shape()[0] > 1:  # a number a row
            by = ops.gather(by, *places)
        found = (ops.multiply if kind == "Multiply" else ops.subtract)(found, by)
    gather.output(0).replace(found.output(0))
    return True


def _is_by_rows(gather: Any) -> bool:
    axis = gather.input_value(2).get_node()
    along_rows = axis.get_type_name() == "Constant" and not axis.data.any()
    return along_rows and not gather.get_attributes().get("batch_dims", 0)
