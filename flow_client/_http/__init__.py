"""The HTTP half: one request, its deadline, retries and token."""
