"""The error for a command line that k3 does not understand."""

from k3.core.errors import K3Error


class BadUsage(K3Error):
    """The message says what is wrong with the command line, `hint` where to look."""

    exit_code = 2

    def __init__(self, message: str, *, command: str = "") -> None:
        super().__init__(message)
        self.hint = f'Run "k3 {command} --help" for the flags.' if command else 'Run "k3 --help" for the commands.'
