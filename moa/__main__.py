"""`python -m moa`."""

from moa.cli import main

if __name__ == "__main__":
    # A process that vLLM starts imports this module anew.
    main()
