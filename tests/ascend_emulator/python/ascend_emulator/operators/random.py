"""Random numbers. The same seed and offset give the same numbers; they are not the card's."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import BOOL, INT64, DeviceTensor, require_dtype, require_rank, require_shape
from ascend_emulator.promotion import COMMON, INTEGERS, REALS, require_max_rank, require_scalar_dtype, store
from ascend_emulator.refusal import require
from ascend_emulator.table import aclnn

WORD = (1 << 64) - 1
MAX_CATEGORIES = 1 << 24


def generator(seed: int, offset: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed & WORD, counter=offset & WORD))


def require_representable(name: str, value: float, tensor: DeviceTensor) -> None:
    if tensor.dtype.kind in "iu":
        limits = np.iinfo(tensor.dtype)
        require(
            limits.min <= value <= limits.max,
            f"{name}: {value}, allowed for {tensor.dtype}: {limits.min} to {limits.max}",
        )


@aclnn(
    "aclnnInplaceUniform(selfRef: tensor, from_: double, to: double, seed: int, offset: int)", doc="aclnnInplaceUniform"
)
def uniform(a):
    drawn = generator(a.seed, a.offset).uniform(a.from_, a.to, a.selfRef.shape)
    store(a.selfRef, drawn)
    if a.from_ < a.to:  # rounding may have reached the end, which is not in the range
        a.selfRef.array[a.selfRef.array >= a.to] = a.from_


@uniform.limits
def _(a):
    require_dtype(a.selfRef, *REALS, *INTEGERS)
    require_max_rank(a.selfRef)
    require(a.from_ <= a.to, f"from: {a.from_}, allowed: at most to, {a.to}")
    require_representable("from", a.from_, a.selfRef)
    require_representable("to", a.to, a.selfRef)


@aclnn("aclnnInplaceNormal(selfRef: tensor, mean: float, std: float, seed: int, offset: int)", doc="aclnnInplaceNormal")
def normal(a):
    store(a.selfRef, generator(a.seed, a.offset).normal(a.mean, a.std, a.selfRef.shape))


@normal.limits
def _(a):
    require_dtype(a.selfRef, *REALS)
    require_max_rank(a.selfRef)
    require(a.std >= 0, f"std: {a.std}, allowed: 0 and more")


@aclnn("aclnnInplaceRandom(selfRef: tensor, from_: int, to: int, seed: int, offset: int)", doc="aclnnInplaceRandom")
def random_integers(a):
    store(a.selfRef, generator(a.seed, a.offset).integers(a.from_, a.to, a.selfRef.shape))


@random_integers.limits
def _(a):
    require_dtype(a.selfRef, *COMMON)
    require_max_rank(a.selfRef)
    require(a.from_ < a.to, f"from: {a.from_}, allowed: below to, {a.to}")
    require_representable("from", a.from_, a.selfRef)
    require_representable("to - 1", a.to - 1, a.selfRef)


@aclnn(
    "aclnnInplaceBernoulli(selfRef: tensor, prob: scalar, seed: int, offset: int)",
    doc="aclnnBernoulli&aclnnInplaceBernoulli",
)
def bernoulli(a):
    store(a.selfRef, generator(a.seed, a.offset).random(a.selfRef.shape) < float(a.prob))


@bernoulli.limits
def _(a):
    require_dtype(a.selfRef, *REALS, *INTEGERS, BOOL)
    require_max_rank(a.selfRef)
    require_scalar_dtype("prob", a.prob, *REALS)
    require(0 <= a.prob <= 1, f"prob: {a.prob}, allowed: 0 to 1")
    require(a.offset % 4 == 0, f"offset: {a.offset}, allowed: multiples of 4")


@aclnn(
    "aclnnMultinomial(self: tensor, numsamples: int, replacement: bool, seed: int, offset: int, out: tensor)",
    doc="aclnnMultinomial",
)
def multinomial(a):
    random, weights = generator(a.seed, a.offset), a.self.wide().astype(np.float64)
    rows = np.atleast_2d(weights)
    drawn = [random.choice(row.size, a.numsamples, replace=a.replacement, p=row / row.sum()) for row in rows]
    store(a.out, np.reshape(drawn, a.out.shape))


@multinomial.limits
def _(a):
    require_dtype(a.self, *REALS)
    require_dtype(a.out, INT64)
    require_rank(a.self, 1, 2)
    categories = a.self.shape[-1]
    require(categories <= MAX_CATEGORIES, f"self: shape {a.self.shape}, allowed: at most {MAX_CATEGORIES} categories")
    require(a.numsamples > 0, f"numsamples: {a.numsamples}, allowed: 1 and more")
    require(
        a.replacement or a.numsamples <= categories,
        f"numsamples: {a.numsamples}, allowed without replacement: at most {categories}",
    )
    require_shape(a.out, (*a.self.shape[:-1], a.numsamples))


@aclnn("aclnnRandperm(n: int, seed: int, offset: int, out: tensor)", doc="aclnnRandperm")
def random_permutation(a):
    store(a.out, generator(a.seed, a.offset).permutation(a.n))


@random_permutation.limits
def _(a):
    require_dtype(a.out, *INTEGERS, *REALS)
    require_shape(a.out, (a.n,))
