# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Four-momenta in compiled code: `em.p4(Muon[0]) + em.p4(Muon[1])`.

Without annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import make_attribute_wrapper, models, overload, overload_attribute, register_model

from ...analysis.kernel_functions import p4
from .record_access import intrinsic


class MomentumType(types.Type):
    """Four numbers."""

    def __init__(self) -> None:
        super().__init__(name="Momentum")


_MOMENTUM = MomentumType()
_COMPONENTS = ("px", "py", "pz", "e")


@register_model(MomentumType)
class _MomentumModel(models.StructModel):
    def __init__(self, manager: Any, kind: MomentumType) -> None:
        super().__init__(manager, kind, [(name, types.float64) for name in _COMPONENTS])


for _name in _COMPONENTS:
    make_attribute_wrapper(MomentumType, _name, _name)


@intrinsic
def _momentum(_typing: Any, _px: Any, _py: Any, _pz: Any, _e: Any) -> Any:
    def make(context: Any, builder: Any, _sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(_MOMENTUM)(context, builder)
        for name, value in zip(_COMPONENTS, arguments, strict=True):
            setattr(struct, name, value)
        return struct._getvalue()

    return _MOMENTUM(*[types.float64] * 4), make


@overload(p4)
def _p4(particle):  # noqa: ARG001
    def momentum(particle):
        pt, mass = particle.pt, particle.mass
        px, py, pz = pt * np.cos(particle.phi), pt * np.sin(particle.phi), pt * np.sinh(particle.eta)
        return _momentum(px, py, pz, np.sqrt(px * px + py * py + pz * pz + mass * mass))

    return momentum


@overload(operator.add)
def _add(one, other):
    if isinstance(one, MomentumType) and isinstance(other, MomentumType):
        return lambda one, other: _momentum(one.px + other.px, one.py + other.py, one.pz + other.pz, one.e + other.e)
    return None


@overload_attribute(MomentumType, "pt")
def _pt(it):  # noqa: ARG001
    return lambda it: np.sqrt(it.px * it.px + it.py * it.py)


@overload_attribute(MomentumType, "phi")
def _phi(it):  # noqa: ARG001
    return lambda it: np.arctan2(it.py, it.px)


@overload_attribute(MomentumType, "eta")
def _eta(it):  # noqa: ARG001
    def pseudorapidity(it):
        if it.pt > 0:
            return np.arcsinh(it.pz / it.pt)
        return np.copysign(np.inf, it.pz) if it.pz != 0 else np.nan

    return pseudorapidity


@overload_attribute(MomentumType, "mass")
def _mass(it):  # noqa: ARG001
    return lambda it: np.sqrt(max(it.e * it.e - it.px * it.px - it.py * it.py - it.pz * it.pz, 0.0))
