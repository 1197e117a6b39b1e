"""Checkpoints in the Hugging Face layout: found, read by slice, loaded, quantized, written at random."""
