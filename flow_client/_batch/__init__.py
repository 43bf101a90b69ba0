"""Many executions at once: what `PlatformClient.map` does."""
