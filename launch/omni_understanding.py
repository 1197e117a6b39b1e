"""Answer one omni conversation: mindone's example script of the same name, with flags instead of edited constants.

    python launch/omni_understanding.py --model DIR --conversation launch/conversation.json --audio-out answer.wav

Takes the flags of `ms-omni understand` and behaves the same.
"""

import sys

from ms_omni.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["understand", *sys.argv[1:]]))
