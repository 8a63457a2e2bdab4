"""What programs say in one line instead of a traceback; see `fada_tf.cli.run`."""


class InputError(ValueError):
    """Bad input: a file, an option or a value that the user gave.

    The message is one line that says what is wrong, where, the value received and how to mend it. Programs print it
    and exit with status 2; see `fada_tf.cli.run`.
    """


class DivergenceError(InputError):
    """Losses or gradients became infinite or NaN."""


class Stopped(Exception):  # noqa: N818 (no error: the user or the machine asked for it)
    """A signal asked the program to stop, and it did so with nothing lost; programs exit with status 75."""


def printable(text: str) -> str:
    """Returns text from elsewhere as one line for messages, in which nothing steers a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
