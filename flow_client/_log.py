"""The package's one logger. It says nothing unless the application sets it up."""

import logging

logger = logging.getLogger("flow_client")
logger.addHandler(logging.NullHandler())
