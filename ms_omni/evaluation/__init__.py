"""Scores answers against references: error rates, BLEU, chrF, accuracy, boxes, with intervals. No MindSpore."""

from ms_omni.evaluation.comparison import Comparison, Difference, compare
from ms_omni.evaluation.evaluation import Evaluation, evaluate
from ms_omni.evaluation.metric import METRICS
from ms_omni.evaluation.scores import Figure, Row, Score

__all__ = ["METRICS", "Comparison", "Difference", "Evaluation", "Figure", "Row", "Score", "compare", "evaluate"]
