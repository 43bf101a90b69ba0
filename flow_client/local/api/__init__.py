"""The local platform's HTTP API."""
