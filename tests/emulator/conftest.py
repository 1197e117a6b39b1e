"""The Python half of the emulator, importable without its C++ half and without MindSpore's backend."""

import sys
from pathlib import Path

for folder in (Path(__file__).parents[1] / "ascend_emulator" / "python", Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
