"""A server under thousands of requests does not fall, forgets nothing and keeps nothing."""

import asyncio
import os
import time

import pytest
from process import served
from serving import until
from soak import soak

MIB = 1 << 20


@pytest.mark.slow
def test_requests_of_all_kinds_at_once():
    """300; MS_OMNI_SOAK=10000 asks more."""
    count = int(os.environ.get("MS_OMNI_SOAK", 300))
    with served("--max-body-mib", "2") as server:
        server.wait_until_ready()
        asyncio.run(soak(server.url, 100, 2 * MIB, seed=1))
        before, start = server.resident_mb, time.monotonic()
        sizes = []
        findings = asyncio.run(
            soak(server.url, count, 2 * MIB, on_progress=lambda done: done % 500 or sizes.append(server.resident_mb))
        )
        seconds = time.monotonic() - start
        until(lambda: server.metric("ms_omni_requests_in_flight") == server.metric("ms_omni_cache_use_ratio") == 0)
        after = server.resident_mb
        print(f"{count} in {seconds:.0f} s, {before:.0f} MB before, {after:.0f} after, {sizes}; {findings.outcomes}")
        assert not findings.wrong, findings.wrong[:5]
        assert findings.num_compared > 0.8 * count and findings.outcomes["left"] > 0
        assert after < 1.1 * before + 30
        assert server.end() == 0
    assert not any("Traceback" in line or "internal error" in line for line in server.lines)
