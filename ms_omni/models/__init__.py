"""mindone's Qwen3-Omni classes, corrected."""
