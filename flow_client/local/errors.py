"""The errors of the local platform."""


class LocalPlatformError(RuntimeError):
    """The platform did not start, or one of its processes ended. The message then has the end of that process's log."""


class ManifestError(LocalPlatformError):
    """A manifest is not valid. The message is `FILE:LINE: what is wrong, with which value, and what to do`."""


class SettingError(LocalPlatformError):
    """An argument or option is not usable. No execution was started."""
