"""Requests, the scheduler of their steps, and the loop that owns the device.

The engine does not stand on this yet: it answers one conversation at a time (`runtime.results.Runtime`)."""
