"""What this machine is: its memory, its Ascend cards, the software on it. No MindSpore is imported."""
