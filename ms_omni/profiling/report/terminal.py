"""A profile as tables for a terminal."""

from __future__ import annotations

from ms_omni.profiling.document import Profile
from ms_omni.profiling.report.heading import provenance, title
from ms_omni.profiling.report.tables import of_profile
from ms_omni.tables.terminal import draw


def render(profile: Profile, width: int | None = None) -> str:
    """width: see `draw`."""
    below = [f"{name}: {value}" for name, value in provenance(profile)]
    notes = [] if profile.cases else ["No answer was measured."]
    return draw(title(profile), of_profile(profile), [*notes, *below], width)
