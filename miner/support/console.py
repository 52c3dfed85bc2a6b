"""Log lines that get along with a live progress bar."""

import logging

from rich import get_console


class ConsoleHandler(logging.Handler):
    """Prints messages above the progress bar; long lines are not broken."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message; warnings and errors say so."""
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        say(text)


def say(text: str) -> None:
    """Print a line as it is, above a live bar if there is one."""
    get_console().print(text, soft_wrap=True, markup=False, highlight=False)
