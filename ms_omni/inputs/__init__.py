"""What goes in: conversations, media readers, the processor and the casting to MindSpore tensors."""
