"""The local platform's runner: one worker process for each execution."""
