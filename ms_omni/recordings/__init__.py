"""Recordings of any length written down or translated: windows asked several at a time, their texts joined."""
