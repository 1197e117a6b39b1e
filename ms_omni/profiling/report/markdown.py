"""A profile in Markdown."""

from __future__ import annotations

from ms_omni.profiling.document import Profile
from ms_omni.profiling.report.heading import provenance, title
from ms_omni.profiling.report.tables import of_profile, throughput
from ms_omni.tables.markdown import page


def render(profile: Profile) -> str:
    """The throughput table first, then all others."""
    tables = of_profile(profile)
    if profile.cases:
        tables.insert(0, throughput(profile))
    summary = [] if profile.cases else ["No answer was measured."]
    return page(title(profile), tables, summary, provenance(profile))
