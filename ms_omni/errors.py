"""The one exception that a user's mistake raises."""


class OmniError(Exception):
    """What the user gave cannot be used. The message is one line: what failed, the value, what is allowed, the flag
    or key to change. The command line prints it and exits with 2."""


class UnknownDecoderError(OmniError):
    """The checkpoint's decoder has something that the compiled runtime does not know."""
