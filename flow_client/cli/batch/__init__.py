"""What `flow-client map` does: reads lines, runs them, and writes what came of them so that it can be taken up."""
