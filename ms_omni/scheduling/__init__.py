"""Requests, the scheduler of their steps, and the loop that owns the device."""
