"""What the program loads before a command is called: counted in a process of its own."""

import subprocess
import sys

import pytest
from support.command_line import environment, flow

import flow_client
from flow_client.cli.program import program

HEAVY = {"requests", "urllib3", "pydantic", "tenacity", "nats", "asyncio", "ssl", "tqdm", "rich", "logging"}
REPORT = """
import atexit, sys
atexit.register(lambda: print("loaded", *sys.modules, file=sys.stderr))
from flow_client.__main__ import main
sys.exit(main())
"""


def run(*arguments, **variables):
    """Return what the program prints, and the modules that it has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment(**variables),
    )
    return done.stdout, set(done.stderr.rpartition("loaded")[2].split())


def commands_among(modules):
    return {name for name in modules if name.startswith("flow_client.cli.commands.")}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_command_and_nothing_heavy(option):
    shown, modules = run(option)
    assert shown
    assert commands_among(modules) == set()
    assert modules & HEAVY == set()


@pytest.mark.parametrize("name", program.list_commands(None))
def test_the_help_of_a_command_loads_that_command_alone_and_nothing_heavy(name):
    shown, modules = run(name, "--help")
    assert "Usage:" in shown
    assert commands_among(modules) == {f"flow_client.cli.commands.{name}"}
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    ("words", "expected"),
    [("flow-client ca", {"cancel"}), ("flow-client run co", {"code-block"}), ("flow-client wait --ti", {"--timeout"})],
)
def test_completion_loads_nothing_heavy(words, expected):
    shown, modules = run(
        _FLOW_CLIENT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1)
    )
    assert {line.partition(",")[2] for line in shown.splitlines()} == expected
    assert modules & HEAVY == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(shell):
    done = flow("completion", shell)
    assert done.returncode == 0
    assert "_FLOW_CLIENT_COMPLETE" in done.stdout


def test_the_version_is_the_packages():
    assert run("--version")[0] == f"flow-client {flow_client.__version__}\n"


@pytest.mark.parametrize("name", program.list_commands(None))
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    command = program.get_command(None, name)
    assert command.help.splitlines()[0] == program.summary(name)
