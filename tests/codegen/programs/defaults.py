"""Prints the defaults that requests have in the client at hand."""

import json
import sys

from flow_client import models

block = models.CodeBlockExecutionRequest(input_parameters={}, ring_id="r")
workflow = models.WorkflowExecutionRequest(input_data={}, ring_id="r")
json.dump({"owner": block.owner, "lifecycle_event": workflow.lifecycle_event}, sys.stdout)
