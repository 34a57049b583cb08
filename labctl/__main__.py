"""The `labctl` program, and `python -m labctl`. Imports next to nothing, so that a Ctrl-C is met early."""

import signal


def main() -> None:
    """Run the command line. A Ctrl-C while it is loaded ends it as any program, without a traceback."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from labctl.cli.main import main as program  # noqa: PLC0415 (what is loaded only now is the point)

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    program()


if __name__ == "__main__":
    main()
