"""Generates the client's modules from `openapi.yaml`, which it refreshes from a live platform.

See `python -m codegen --help`.
"""
