"""The `sqlllm` command. A file for each command, or for a few of one kind; it is loaded only when one is called."""

from __future__ import annotations

import importlib
import sys

import click

from sqlllm import __version__
from sqlllm.errors import SQLLLMError, nearest

EXIT_ERROR = 1  # the script, the model or the machine is at fault
EXIT_USAGE = 2  # the command line is (click's own code)
EXIT_CANCELLED = 130  # Ctrl-C, as shells count it

COMMANDS = {
    "run": "run a script",
    "runs": "the training runs: list, follow, cancel, resume",
    "check": "report every error of scripts, without running them",
    "fmt": "rewrite scripts in one style",
    "lsp": "a language server for editors",
    "mcp": "tools for assistants: scripts, tables, models, the manual",
    "shell": "statements at a prompt",
    "console": "notebooks in the browser",
    "up": "start a cluster on this machine that outlives the command",
    "down": "end what `up` started",
    "deploy": "deploy models on the cluster",
    "undeploy": "remove a model",
    "query": "ask a model",
    "stat": "the models, or the workers of one",
    "serve": "models behind OpenAI's API, without SQL",
    "engine": "scripts over HTTP, for schedulers and other tools",
    "prepare": "make every later start of Spark faster",
    "doctor": "what this machine has, what is missing or broken, and the cure",
}


_FILES = {
    "up": "cluster",
    "down": "cluster",
    **dict.fromkeys(("deploy", "undeploy", "query", "stat"), "models"),
}
"""Of several commands: each has its own name there."""


class _Lazy(click.Group):
    """Commands by name, so that `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        file = _FILES.get(cmd_name)
        module = importlib.import_module(f"{__name__}.{file or cmd_name}")
        command = getattr(module, cmd_name if file else "command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = nearest(args[0], COMMANDS)
            ctx.fail(f"there is no command {args[0]}." + (f" Did you mean {near}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sqlllm")
def cli() -> None:
    """One SQL dialect for the whole life of a language model: train, deploy and call it over tables."""


def main() -> None:
    """The console script: a user's mistake ends in its message and an exit code, never in a stack trace."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SQLLLMError as error:
        click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)
        code = EXIT_ERROR
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        code = EXIT_CANCELLED
    sys.exit(code)
