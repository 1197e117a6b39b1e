"""`python -m ms_omni` is `ms-omni`."""

from ms_omni.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
