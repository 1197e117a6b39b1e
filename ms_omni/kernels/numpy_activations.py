"""Activations and normalisation in numpy, in place, for arrays that fit a core's cache."""

from __future__ import annotations

import math

import numpy as np

# erf in five terms to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.26.
_ERF_P = np.float32(0.3275911)
_ERF_TERMS = tuple(np.float32(c) for c in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))
_TANH_SLOPE = np.float32(-2 * math.sqrt(2 / math.pi))


def snake_beta(x: np.ndarray, frequency: np.ndarray, magnitude: np.ndarray, out: np.ndarray) -> None:
    """out = x + sin(x frequency)^2 magnitude. All float32; x, out: any one shape, the others broadcast to it; out is
    not x."""
    np.multiply(x, frequency, out=out)
    np.sin(out, out=out)
    np.square(out, out=out)
    out *= magnitude
    out += x


def gelu(x: np.ndarray) -> None:
    """x times the chance that a standard normal variable is below x, within 3e-7 |x|. float32."""
    size = np.abs(x)
    size *= np.float32(math.sqrt(0.5))
    term = size * _ERF_P
    term += 1
    np.reciprocal(term, out=term)
    np.square(size, out=size)
    np.negative(size, out=size)
    np.exp(size, out=size)
    size *= term
    tail = term * _ERF_TERMS[0]
    for factor in _ERF_TERMS[1:-1]:
        tail += factor
        tail *= term
    tail += _ERF_TERMS[-1]
    tail *= size  # 1 - erf(|x| / sqrt 2), twice the chance beyond |x|
    # x (1 - tail / 2) above 0 and x tail / 2 below: max(x, 0) - |x| tail / 2
    tail *= np.abs(x)
    tail *= np.float32(0.5)
    np.maximum(x, 0, out=x)
    x -= tail


def gelu_tanh(x: np.ndarray) -> None:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, as x / (1 + exp(-2 ...)). float32."""
    term = np.square(x)
    term *= np.float32(0.044715)
    term += 1
    term *= x
    term *= _TANH_SLOPE
    np.minimum(term, 80, out=term)
    np.exp(term, out=term)
    term += 1
    x /= term


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """Over the last axis; a new array. All float32."""
    out = x - x.mean(-1, keepdims=True)
    variance = np.einsum("...i,...i->...", out, out)[..., None]
    variance /= x.shape[-1]
    variance += np.float32(eps)
    out /= np.sqrt(variance)
    out *= weight
    out += bias
    return out


def softmax_sums(scores: np.ndarray) -> np.ndarray:
    """exp(scores - maximum) over the last axis, in place, and their sums, (..., 1)."""
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    return scores.sum(-1, keepdims=True)
