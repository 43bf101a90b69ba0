"""The models of the platform's requests, answers and messages, generated from its specification."""

from flow_client._generated.models import (
    AgentCallRequest,
    AgentCallResponse,
    AgentExecutionRequest,
    CodeBlockExecutionRequest,
    ErrorResponse,
    ExecutionAccepted,
    ExecutionCancellation,
    ExecutionEvent,
    ExecutionInput,
    ExecutionOutput,
    ExecutionRecord,
    ExecutionStatusUpdate,
    ProblemDetails,
    TransformCallRequest,
    ValidationErrorItem,
    WorkflowExecutionRequest,
)
from flow_client._model import TERMINAL_STATUSES

__all__ = [
    "TERMINAL_STATUSES",
    "AgentCallRequest",
    "AgentCallResponse",
    "AgentExecutionRequest",
    "CodeBlockExecutionRequest",
    "ErrorResponse",
    "ExecutionAccepted",
    "ExecutionCancellation",
    "ExecutionEvent",
    "ExecutionInput",
    "ExecutionOutput",
    "ExecutionRecord",
    "ExecutionStatusUpdate",
    "ProblemDetails",
    "TransformCallRequest",
    "ValidationErrorItem",
    "WorkflowExecutionRequest",
]
