"""Generates `flow_client/_generated` from `openapi.yaml`: `python -m codegen [--check] [--spec URL-or-FILE]`."""
