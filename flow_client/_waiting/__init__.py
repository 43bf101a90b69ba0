"""Waiting for executions: polls and futures."""
