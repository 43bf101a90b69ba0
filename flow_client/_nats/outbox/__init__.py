"""The outbox: what callers publish, until it is stored."""
