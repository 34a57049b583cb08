"""What a command on a machine says, told from what the user's shell there says first (a .bashrc that prints)."""

from __future__ import annotations

import secrets


def new() -> str:
    """A word that nobody else says; to be printed right before the answer."""
    return f"labctl-{secrets.token_hex(8)}"


def after(marker: str, text: str) -> str:
    r"""What follows the line with `marker`; all of `text` if there is none.

    >>> after("x1", "Welcome!\nx1\nanswer\n"), after("x1", "answer\n")
    ('answer\n', 'answer\n')
    """
    _, found, answer = text.partition(f"{marker}\n")
    return answer if found else text
