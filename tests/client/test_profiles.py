"""Settings from a profile file, and tokens from files and commands."""

import sys

import pytest
from support.http import Answer

from flow_client import ConfigurationError, PlatformClient

FULL = """
[default]
base_url = "https://default.example.com"
org_id = "org-d"

[test]
base_url = "https://test.example.com"
org_id = "org-t"
workspace_id = "ws-t"
ring_id = "ring-t"
timeout = 12.5
nats_url = "nats://canary@nats.example.com"
"""


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "flow-client" / "config.toml"
    file.parent.mkdir()
    return file


def make(**arguments):
    with PlatformClient(**{"auth_token": "t-1", **arguments}) as client:
        return client


def test_a_profile_stands_in_for_arguments(config_file):
    config_file.write_text(FULL)
    settings = make(profile="test").settings
    assert (settings.base_url, settings.org_id, settings.workspace_id) == ("https://test.example.com", "org-t", "ws-t")
    assert (settings.ring_id, settings.timeout) == ("ring-t", 12.5)
    assert settings.nats_url == "nats://canary@nats.example.com"
    assert "canary" not in repr(settings)


def test_the_profile_default_is_read_unless_another_is_named(config_file, monkeypatch):
    config_file.write_text(FULL)
    assert make().settings.org_id == "org-d"
    monkeypatch.setenv("FLOW_PROFILE", "test")
    assert make().settings.org_id == "org-t"
    assert make(profile="default").settings.org_id == "org-d"


def test_an_argument_wins_over_the_environment_and_that_over_the_profile(config_file, monkeypatch):
    config_file.write_text(FULL)
    monkeypatch.setenv("ORG_ID", "org-e")
    monkeypatch.setenv("WORKSPACE_ID", "")
    settings = make(profile="test").settings
    assert (settings.org_id, settings.workspace_id) == ("org-e", "ws-t")
    assert make(profile="test", org_id="org-a").settings.org_id == "org-a"


def test_without_a_file_everything_is_as_it_was(config_file):
    assert make(base_url="https://x").settings.org_id is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("org_id = 1", "'org_id' in .* outside of a profile"),
        ("[default]\norg_id = 1", "org_id is 1 in profile 'default' in .*config.toml; it must be a string"),
        ("[default]\ntimeout = true", "timeout is True .* a number of seconds"),
        ("[default]\nbase_url = 'http://x'\ntimeout = -1", "timeout is -1.*from profile 'default'"),
        ("[default]\nbase_url = 'ftp://x'", "base_url is 'ftp://x'.*from profile 'default'"),
        ("[default]\norganisation = 'x'", "'organisation' is not known in .* a profile has base_url, org_id"),
        ("[default]\nauth_token = 'canary'", "auth_token_file"),
        ("[default]\nnats_url = ['canary']", "nats_url is list"),
        ("[default]\nauth_token_command = []", "a string or a list of strings"),
        ("[default]\nauth_token_command = ['vault', 5, 'canary']", "a string or a list of strings"),
        ("[default]\nauth_token_file = 'a'\nauth_token_command = 'b'", "keep one of them"),
        ("[default", "is not TOML"),
    ],
)
def test_a_file_that_is_not_valid_is_refused(config_file, text, message):
    config_file.write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        make()
    assert "canary" not in str(caught.value)


def test_a_profile_that_does_not_exist_is_refused(config_file, monkeypatch):
    with pytest.raises(ConfigurationError, match=r"no profile 'prod' in .* does not exist"):
        make(profile="prod")
    config_file.write_text(FULL)
    monkeypatch.setenv("FLOW_PROFILE", "prod")
    with pytest.raises(ConfigurationError, match=r"it has 'default', 'test' .*FLOW_PROFILE"):
        make()


def test_a_home_that_belongs_to_somebody_else_is_no_obstacle(config_file, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")
    assert make(base_url="https://x").settings.timeout == 300


# --- tokens


def sent_tokens(http_server, times=1, **arguments):
    """Return the tokens that calls carried; a call that is refused is repeated with a new token."""
    with PlatformClient(http_server.url, org_id="o", workspace_id="w", **arguments) as client:
        for _ in range(times):
            client.get_execution_status("e-1")
    return [request.headers["Authorization"].removeprefix("Bearer ") for request in http_server.received]


def test_a_token_file_is_read_again_when_its_token_is_refused(config_file, http_server, tmp_path):
    file = tmp_path / "token"
    file.write_text("old\n")
    file.chmod(0o600)
    config_file.write_text(f"[default]\nauth_token_file = '{file}'")

    def serve(request):
        if request.headers["Authorization"] == "Bearer old":
            file.write_text("new\n")
            return Answer(401, {"detail": "expired"})
        return Answer(200, {"execution_id": "e-1", "status": "completed"})

    http_server.handle = serve
    assert sent_tokens(http_server) == ["old", "new"]


def test_a_token_command_is_run_without_a_shell(config_file, http_server):
    code = "import sys; print(sys.argv[1])"
    config_file.write_text(f"""[default]\nauth_token_command = ['{sys.executable}', '-c', '{code}', '$HOME;x']""")
    assert sent_tokens(http_server) == ["$HOME;x"]


def test_token_settings_of_the_environment_win_over_the_profile(config_file, http_server, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("from-file")
    config_file.write_text("[default]\nauth_token_command = 'false'")
    monkeypatch.setenv("AUTH_TOKEN_FILE", str(tmp_path / "token"))
    assert sent_tokens(http_server) == ["from-file"]
    monkeypatch.setenv("AUTH_TOKEN", "from-variable")
    assert sent_tokens(http_server)[-1] == "from-variable"
    assert sent_tokens(http_server, auth_token="from-argument")[-1] == "from-argument"


def test_a_command_in_a_variable_is_split_like_a_shell_does(http_server, monkeypatch):
    monkeypatch.setenv("AUTH_TOKEN_COMMAND", f"'{sys.executable}' -c 'print(\"a b\".split()[1])'")
    assert sent_tokens(http_server) == ["b"]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("AUTH_TOKEN_FILE", "/nowhere/token", "token file /nowhere/token .variable AUTH_TOKEN_FILE. cannot be read"),
        ("AUTH_TOKEN_FILE", "/dev/null", "is empty"),
        ("AUTH_TOKEN_FILE", "eyJcanary.b.c", "is the token itself, which is not shown; it must be the path of a file"),
        ("AUTH_TOKEN_FILE", "canary" * 50, "is the token itself"),
        ("AUTH_TOKEN_COMMAND", "/nowhere/program canary", "'/nowhere/program' .* cannot be run: No such file"),
        ("AUTH_TOKEN_COMMAND", "sh -c 'echo canary; exit 3'", "'sh' .* failed with exit code 3"),
        ("AUTH_TOKEN_COMMAND", "true", "printed no token"),
        ("AUTH_TOKEN_COMMAND", "'", "cannot be read: No closing quotation"),
        ("AUTH_TOKEN_COMMAND", " ", "must name a program"),
        ("AUTH_TOKEN_COMMAND", "echo can ary", "must be a non-empty string"),
    ],
)
def test_a_token_that_cannot_be_had_is_a_clear_error(monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=message) as caught:
        PlatformClient("https://x")
    assert "canary" not in str(caught.value)


def test_a_token_file_that_everybody_can_read_is_warned_of_once(monkeypatch, tmp_path, caplog, http_server):
    file = tmp_path / "token"
    file.write_text("t-1")
    file.chmod(0o644)
    monkeypatch.setenv("AUTH_TOKEN_FILE", str(file))
    assert sent_tokens(http_server, times=2) == ["t-1", "t-1"]
    assert [record.message for record in caplog.records] == [
        f"every user of this machine can read the token file {file}: chmod 600 it"
    ]


def test_a_profile_with_a_nul_is_a_clear_error(config_file):
    config_file.write_text('[default]\nauth_token_command = ["a\\u0000b"]\n')
    with pytest.raises(ConfigurationError, match="cannot be run: it contains a NUL character"):
        PlatformClient("https://x")
