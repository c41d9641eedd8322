"""`python -m eventmill`, where the command `eventmill` is not on the path."""

from .cli.main import main

if __name__ == "__main__":
    main(prog_name="eventmill")
