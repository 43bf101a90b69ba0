"""The API's process: `python -m flow_client.local.api`, started by `LocalPlatform`."""

import warnings

from pydantic.warnings import UnsupportedFieldAttributeWarning

from flow_client.local.api.server import serve
from flow_client.local.service import run_service

if __name__ == "__main__":
    # FastAPI ignores this warning while it builds a model, but our models are only built at their first use.
    warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)
    run_service(serve)
