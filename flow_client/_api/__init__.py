"""What is generated from the specification, and what that stands on."""
