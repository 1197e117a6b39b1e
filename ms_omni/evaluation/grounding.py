"""How well the boxes of an answer match the right ones: intersection over union."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from ms_omni.errors import OmniError
from ms_omni.evaluation.metric import Floats, Metric, Pair, RowMeasure, percent
from ms_omni.evaluation.reference import Box, boxes_of

# A box counts as found from here on, as in the evaluation of referring expressions (RefCOCO) and PASCAL VOC
FOUND_FROM = 0.5


class Iou(Metric):
    """Boxes of both sides are matched one to one so that the sum of IoU is the largest, equal labels only (a reference
    without label takes any). A row's IoU is that sum over the larger number of boxes of the two sides, so that a box
    too many costs as much as one too few; the figure is the mean of all rows. `found` is the share of reference boxes
    whose match has an IoU of at least 0.5, of all rows together."""

    name = "iou"
    figures = ("mean IoU", "found at 0.5")
    counts = ("iou", "rows", "found", "boxes")
    key = "boxes"

    @override
    def unit(self, language: str | None) -> str:
        return "boxes"

    @override
    def method(self, language: str | None) -> str:
        return "boxes matched one to one within their label for the largest sum of IoU; one without a match counts 0"

    @override
    def measure(self, pairs: Sequence[Pair], language: str | None) -> list[RowMeasure]:
        return [_measured(pair) for pair in pairs]

    @override
    def of_sums(self, sums: Floats) -> Floats:
        return np.stack([percent(sums[:, 0], sums[:, 1]), percent(sums[:, 2], sums[:, 3])], axis=1)


def _measured(pair: Pair) -> RowMeasure:
    expected, result = pair.reference.boxes, pair.result
    boxes: tuple[Box, ...] = ()
    note = ""
    if result.failure is None:
        if not result.has_boxes:
            example = '[{"label": "dog", "box": [x1, y1, x2, y2]}]'
            raise OmniError(f"{result.where}: no 'boxes', which --metric iou needs; expected {example} in pixels")
        boxes = boxes_of(result.boxes, f"{result.where}: 'boxes'", skips_points=True)
        note = "some or all boxes of the answer could not be read" if result.boxes_error else ""
    overlaps = matched_overlaps(expected, boxes)
    iou = float(sum(overlaps)) / max(len(expected), len(boxes))
    found = sum(overlap >= FOUND_FROM for overlap in overlaps)
    counts = iou, 1.0, float(found), float(len(expected))
    return RowMeasure(counts, 100 * iou, _shown(expected), _shown(boxes), note=note)


def matched_overlaps(expected: Sequence[Box], found: Sequence[Box]) -> list[float]:
    """For each box of `expected`, its IoU with its match; 0.0 without one."""
    from scipy.optimize import linear_sum_assignment

    table = np.array([[_overlap(one, other) for other in found] for one in expected]).reshape(len(expected), -1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    overlaps = np.zeros(len(expected))
    overlaps[rows] = table[rows, columns]
    return [float(overlap) for overlap in overlaps]


def _overlap(expected: Box, found: Box) -> float:
    """IoU; 0 for another label."""
    if expected.label is not None and _plain(expected.label) != _plain(found.label or ""):
        return 0.0
    left, top = np.maximum(expected.corners[:2], found.corners[:2])
    right, bottom = np.minimum(expected.corners[2:], found.corners[2:])
    common = max(0.0, right - left) * max(0.0, bottom - top)
    return common / (_area(expected) + _area(found) - common)


def _area(box: Box) -> float:
    left, top, right, bottom = box.corners
    return max(0.0, right - left) * max(0.0, bottom - top)


def _plain(label: str) -> str:
    return " ".join(label.casefold().split())


def _shown(boxes: Sequence[Box]) -> str:
    return "; ".join(f"{box.label or 'any'} ({', '.join(f'{corner:g}' for corner in box.corners)})" for box in boxes)
