"""What JetStream and the platform's streams fix: names and numbers that both sides use."""

INPUT_STREAM = "EXEC_INPUT"
"""The work queue that an execution's input waits in. Other streams are found by their subjects."""

HEADER_ALLOWANCE = 512
"""Bytes of a message that are kept free for its headers. The server counts them as payload, and ends the connection
for good when a message exceeds its limit."""

WRONG_LAST_SEQUENCE = (10071, 10164)
"""The server's error codes for "the last message of the subject is not the expected one". The second is the answer
while another message to the subject is on its way through a cluster."""
