"""`python -m mintmark`."""

from mintmark.cli.main import run

if __name__ == "__main__":
    run()
