"""The one exception that means: the user can mend this."""


class InputError(ValueError):
    """Bad input: a file, an option or a value that the user gave.

    The message is one line that says what is wrong, where, the value received and how to mend it. Programs print it
    and exit with status 2; see `fada_tf.cli.run`.
    """
