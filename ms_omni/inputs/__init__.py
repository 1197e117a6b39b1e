"""Inputs: conversations, media readers, the processor, and the casting to MindSpore tensors."""
