"""docs/cli.md is what `--help` says: `python -m tests.console.help > docs/cli.md` writes it again."""

from __future__ import annotations

import click
from click.testing import CliRunner

from sqlllm.console.cli import COMMANDS, cli

HEAD = """# The command line

Exit codes: 0 done, 1 the script or the machine is at fault, 2 the command line is, 130 stopped by Ctrl-C. Results go to
standard output, progress and errors to standard error.
"""


def page() -> str:
    """The whole page."""
    runner = CliRunner()
    parts = [HEAD]
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        words = [[name], *([name, inner] for inner in getattr(command, "commands", ()))]
        for path in words:
            text = runner.invoke(cli, [*path, "--help"], prog_name="sqlllm", terminal_width=100).output
            parts.append(f"{'##' if len(path) == 1 else '###'} sqlllm {' '.join(path)}\n\n```\n{text.strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
