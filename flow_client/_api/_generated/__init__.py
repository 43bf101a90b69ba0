"""Generated from `openapi.yaml` by `make codegen`: never edited by hand."""
