"""The words of an error: what CANN and MindSpore say, without the parts that are for their developers."""

from __future__ import annotations

import re

from ms_omni.acceptance.privacy import redact

LONGEST = 2000
# MindSpore 2.7.1 appends sections between lines of dashes; this one lists places of its own source
_DEVELOPERS = re.compile(r"\n-+\n- (?:C\+\+ Call Stack|The Traceback of Net Construct Code).*", re.DOTALL)
_RULER = re.compile(r"^-{8,}$\n?", re.MULTILINE)


def message_of(error: BaseException) -> str:
    """At most LONGEST characters."""
    text = _RULER.sub("", _DEVELOPERS.sub("", str(error)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = type(error).__name__
    said = redact(f"{kind}: " + "\n".join(lines) if lines else kind)
    return said if len(said) <= LONGEST else said[:LONGEST] + " …"
