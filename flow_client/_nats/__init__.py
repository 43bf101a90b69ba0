"""The NATS half: the loop's thread, the connection, inputs, events and hints."""
