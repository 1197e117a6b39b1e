"""CANN's operators in numpy, with its documented limits: the Python half of the emulator (docs/emulator.md)."""
