"""What the local platform keeps in JetStream."""
