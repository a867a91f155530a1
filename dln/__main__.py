"""`python -m dln`."""

from dln.cli import main

if __name__ == "__main__":
    main()
