"""What can go wrong with the local platform."""


class LocalPlatformError(RuntimeError):
    """The local platform could not be started or stopped working. The message has the tail of the log."""


class ManifestError(LocalPlatformError):
    """A manifest is not usable. The message is `FILE:LINE: what is wrong, with which value, and what to do`."""


class SettingError(LocalPlatformError):
    """A value that the platform was given cannot be used; nothing was started with it."""
