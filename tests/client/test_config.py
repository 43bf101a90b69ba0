"""Settings from arguments and the environment (contract section 1)."""

import traceback

import pytest

from flow_client import ConfigurationError, PlatformClient, config

REQUIRED = {"base_url": "https://flow.example.com"}


def resolve(**arguments):
    return config.resolve(**{**REQUIRED, **arguments})


@pytest.mark.parametrize(("argument", "variable"), [("base_url", "PLATFORM_API_URL"), ("auth_token", "AUTH_TOKEN")])
@pytest.mark.parametrize("environment", [None, ""])
def test_a_missing_setting_names_the_argument_and_the_variable(argument, variable, environment, monkeypatch):
    if environment is not None:
        monkeypatch.setenv(variable, environment)
    with pytest.raises(ConfigurationError, match=f"{argument}.*{variable}") as caught:
        PlatformClient(**{**REQUIRED, "auth_token": "t-1", argument: None})
    assert isinstance(caught.value, ValueError)


def test_the_environment_stands_in_for_arguments(monkeypatch):
    monkeypatch.setenv("PLATFORM_API_URL", "http://h:8/base/")
    monkeypatch.setenv("AUTH_TOKEN", " t-2\n")
    monkeypatch.setenv("ORG_ID", " o ")
    monkeypatch.setenv("WORKSPACE_ID", "w")
    monkeypatch.setenv("PLATFORM_TIMEOUT_SECONDS", "12.5")
    monkeypatch.setenv("NATS_URL", "nats://a,nats://b")
    monkeypatch.setenv("EXECUTION_ID", "e")
    monkeypatch.setenv("DEPLOYMENT_ID", "d")
    settings = config.resolve()
    assert (settings.base_url, settings.org_id, settings.workspace_id) == ("http://h:8/base", "o", "w")
    assert (settings.timeout, settings.execution_id, settings.deployment_id) == (12.5, "e", "d")
    assert settings.nats_url == "nats://a,nats://b"
    assert config.resolve_token(None).reveal() == "t-2"


def test_an_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("ORG_ID", "theirs")
    monkeypatch.setenv("PLATFORM_TIMEOUT_SECONDS", "1")
    settings = resolve(org_id="ours", timeout=2)
    assert (settings.org_id, settings.timeout) == ("ours", 2.0)


def test_the_default_timeout_is_300_seconds():
    assert resolve().timeout == 300


@pytest.mark.parametrize("url", ["flow.example.com", "ftp://x", "http://", "http://x?a=1", "http://x:a", "http://x#f"])
def test_an_unusable_base_url_is_refused(url):
    with pytest.raises(ConfigurationError, match="PLATFORM_API_URL"):
        resolve(base_url=url)


@pytest.mark.parametrize(
    "authority",
    [
        *("user:secret@x", "user@x", ":secret@x", "@x", "user:@x", "us er:secret@x", "user:secret@x:a", "user:secret@"),
        *("user:se#cret@x", "user:se?cret@x", "user:se/cret@x"),
    ],
)
def test_a_base_url_with_user_or_password_is_refused_and_shows_neither(authority):
    with pytest.raises(ConfigurationError, match=r"base_url.*PLATFORM_API_URL") as caught:
        resolve(base_url=f"https://{authority}")
    shown = "".join(traceback.format_exception(caught.value))
    assert "secret" not in str(caught.value)
    assert "cret" not in shown.rpartition("ConfigurationError")[2]
    assert "user:" not in str(caught.value)


def test_an_at_sign_in_the_path_is_no_user():
    assert resolve(base_url="https://x/@team/").base_url == "https://x/@team"


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), True, "soon"])
def test_an_unusable_timeout_is_refused(timeout):
    with pytest.raises(ConfigurationError, match="timeout is"):
        resolve(timeout=timeout)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), True, "often", None])
def test_an_unusable_rate_is_refused(rate):
    with pytest.raises(ConfigurationError, match=r"max_polls_per_second is .* above 0"):
        resolve(base_url="http://x", max_polls_per_second=rate)


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan"])
def test_an_unusable_timeout_variable_is_named(text, monkeypatch):
    monkeypatch.setenv("PLATFORM_TIMEOUT_SECONDS", text)
    with pytest.raises(ConfigurationError, match="PLATFORM_TIMEOUT_SECONDS"):
        resolve()


@pytest.mark.parametrize("token", ["a b", "a\nX-Evil: 1", "ä"])
def test_an_unusable_token_is_refused_without_being_shown(token):
    with pytest.raises(ConfigurationError, match="AUTH_TOKEN") as caught:
        PlatformClient("http://127.0.0.1:9", token)
    assert repr(token) not in "".join(traceback.format_exception(caught.value))


def test_a_header_value_from_the_environment_is_checked(monkeypatch):
    monkeypatch.setenv("LIFECYCLE_EVENT", "a\r\nX-Evil: 1")
    with pytest.raises(ConfigurationError, match="LIFECYCLE_EVENT"):
        resolve()


def test_the_settings_do_not_show_secrets():
    assert "canary" not in repr(resolve(nats_url="nats://canary@h"))
