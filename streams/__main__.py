"""``python -m streams``: the same as the command ``sottovoce``."""

from streams.cli.main import main

if __name__ == "__main__":
    main()
